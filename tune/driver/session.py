"""A session of a search: joins the cluster, runs the trials, confirms the winner, writes the results."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from themo.checkpoints.versions import keep_run_keys
from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.errors import InputError
from themo.files.disk_space import Patience
from themo.process.output import from_here, with_command
from themo.process.progress import console
from themo.tracking.runs import Tracking
from themo.tracking.uri import tracking_uri, ui_command
from themo.training.loop import train
from tune.cluster import sharing
from tune.cluster.connection import Cluster, connect
from tune.cluster.shipping import Shipment
from tune.cluster.slots import Slots
from tune.cluster.storage import Storage
from tune.confirmation.plan import begin, plan
from tune.confirmation.verdict import is_due, verdict
from tune.driver.checkpoints import match_checkpoints
from tune.driver.loop import Loop
from tune.driver.mlflow_runs import MlflowRuns
from tune.driver.rungs_in_pairs import with_rungs
from tune.driver.stages import confirmation_of, never_stopped, trials_of
from tune.driver.stoppers import TimeBudget
from tune.results import best_trials as results
from tune.results.best_trials import BEST_SETTINGS, BEST_VERSION
from tune.results.front import front_as_json, write_front
from tune.results.mlflow_runs import SearchRuns
from tune.results.run_tags import run_key
from tune.results.trial_table import TrialTable
from tune.space.dimensions import Scalar
from tune.space.read_dimensions import data_leaves
from tune.study.limits import early_end, is_whole, used_up
from tune.study.naming import SEARCH_FILE, STUDY_FILE
from tune.study.reports import ReportLog
from tune.study.search import TRIALS_FOLDER, Search, alone, refuse_other_pairs
from tune.study.study import Study
from tune.study.tracking_place import keep_place, refuse_another_place
from tune.study.work_time import busy_share, most_at_once, session_seconds
from tune.worker.memory import peak_memory, share_by_memory
from tune.worker.trial import Train, Work

OnData = Callable[[Search, Sequence[TrainingData]], None]
"""Takes the search, with its rungs in sentence pairs, and the data of all its trials."""

RAY_LOG = "ray.log"

_TOP = 5


def run_search(
    search: Search,
    data_for: Callable[[Settings], TrainingData],
    train: Train = train,
    time_budget: float | None = None,
    measure: Callable[[], float | None] = peak_memory,
    on_begin: Callable[[], None] = lambda: None,
    on_data: OnData = lambda _search, _data: None,
) -> results.SearchResult:
    """Run or resume a search, and write its results.

    Args:
        search: From `new_search` or, to resume, from `read_search`.
        data_for: Returns the training data of settings. Called for each combination of searched data
            settings, after the cluster and the storage have been checked and before any trial starts.
        train: The training function of a trial; a module-level function, so that workers can import it.
        time_budget: Seconds after which the session ends, also during the confirmation; running trials keep
            their last checkpoint, from which a resumed search continues them.
        measure: Returns, on a worker, the peak share of a GPU's memory that its trial used.
        on_begin: Called after cluster and storage have been checked, before data is prepared.
        on_data: Called before the first trial of the session.

    Returns:
        The results of the session.

    Raises:
        InputError: The cluster is too small (a resumed search waits for its cluster first), the MLflow server
            is unreachable or not the search's, another process runs this search, a machine does not share
            the storage, checkpoints are missing, the data is invalid or not the search's, trials are set to
            GPUs and get none, or no trial reached a checkpoint within the time budget.
        KeyboardInterrupt: Interrupted; the search can be resumed.
        ClusterError: Ray failed, or too many trials in a row; the search can be resumed.
        RuntimeError: All trials failed.
    """
    storage, patience = storage_of(search), Patience()
    with alone(search.folder):  # until the results are written too
        study, slots = _searched(
            search, data_for, train, time_budget, measure, on_begin, on_data, storage, patience
        )
        return patience(lambda: _finish(search, study, slots, storage))


def _searched(
    search: Search,
    data_for: Callable[[Settings], TrainingData],
    train: Train,
    time_budget: float | None,
    measure: Callable[[], float | None],
    on_begin: Callable[[], None],
    on_data: OnData,
    storage: Storage,
    patience: Patience,
) -> tuple[Study, int]:
    """Run the trials; return the record and the largest number of slots of any session."""
    folder = search.folder
    logs_dir, experiment = Path(search.settings.paths.logs_dir), search.settings.paths.experiment
    uri = tracking_uri(logs_dir)
    refuse_another_place(folder, experiment)
    if (folder / STUDY_FILE).exists():  # also before the first trial, if a warm start carried trials over
        study = Study.reopen(folder / STUDY_FILE, patience)
    else:
        study = Study(folder / STUDY_FILE, search.mode, patience=patience)
    is_resumed = len(study) > 0
    study.save()
    with ExitStack() as stack:
        runs = SearchRuns(search, folder, is_running=True)
        tracking = stack.enter_context(
            Tracking(uri, experiment, runs, folder, must_answer=not is_resumed, patience=patience)
        )
        stack.callback(runs.rest)
        patience(lambda: keep_place(folder, experiment, tracking.experiment_id))
        if is_resumed:  # before anything is written to it: it may be full
            match_checkpoints(study, storage)
        # a kill may have come after the last trial or run, before the results
        if is_whole(study, search.space) and not is_due(study, search.space, search.settings):
            return study, most_at_once(study)
        cluster = stack.enter_context(connect(search.resources.address, folder / RAY_LOG))
        slots = _slots(search, study, cluster, time_budget)
        machines = list(cluster.machines().values())
        search.resources.on(machines).refuse_no_gpus(search.settings.training.device)
        patience(lambda: _refuse_unshared(search, storage, cluster))
        on_begin()
        console.print(with_command("Runs in MLflow: ", ui_command(uri), console), soft_wrap=True)
        if cluster.dashboard:
            console.print(f"Ray dashboard: {cluster.dashboard}", soft_wrap=True)
        data = _data(search, data_for)
        search = patience(lambda: with_rungs(search, data))
        on_data(search, list(data.values()))
        work = replace(_work(search, data, train, storage), measure=measure)
        corpora = {str(values): data.corpus for values, data in work.data.items() if data.corpus}
        patience(lambda: refuse_other_pairs(folder, corpora))
        if search.resources.address is not None:
            work = replace(work, shipment=Shipment.of(work.data.values()))
        reports = partial(MlflowRuns, log=ReportLog(folder, patience), tracking=tracking)
        budget = TimeBudget(math.inf if time_budget is None else time_budget)
        if not is_whole(study, search.space):
            loop = Loop(search, study, storage, patience)
            stage = trials_of(search, study, storage, loop.session, patience, slots, reports)
            loop.run(stage, work, slots, budget)
        _confirm(search, study, storage, patience, reports, work, slots, budget)
    return study, max(slots.most, most_at_once(study))


def _confirm(
    search: Search,
    study: Study,
    storage: Storage,
    patience: Patience,
    runs: Callable[[Study], MlflowRuns],
    work: Work,
    slots: Slots,
    budget: TimeBudget,
) -> None:
    """Confirm the winner of a search whose trials are done, unless it is confirmed or time is up.

    Raises:
        KeyboardInterrupt, ClusterError: As of `Loop.run`; the results of the search are written before.
    """
    if not is_whole(study, search.space) or not is_due(study, search.space, search.settings):
        return
    chosen = plan(study, search.space, search.settings)
    if isinstance(chosen, str):
        return
    begin(study, chosen)
    study.save()
    patience(lambda: _write_best(search, study, storage))
    if budget.stop_all():
        return
    others = " and ".join(map(str, chosen.rivals))
    console.print(
        f"Confirming trial {chosen.winner} beside {others} with {len(chosen.seeds)} further seeds at most",
        soft_wrap=True,
    )
    loop = Loop(search, study, storage, patience)
    stage = confirmation_of(search, study, storage, loop.session, patience, runs)
    try:
        loop.run(stage, replace(work, search=never_stopped(work.search)), slots, budget)
    except KeyboardInterrupt:
        console.print(
            f"The confirmation was interrupted; the search is done: {from_here(search.folder / BEST_SETTINGS)}",
            soft_wrap=True,
        )
        raise


def _slots(search: Search, study: Study, cluster: Cluster, time_budget: float | None) -> Slots:
    """The number of trials that the cluster can run at once.

    A resumed search on an existing cluster waits, at most for its time budget, until the cluster can run one
    trial: after a restart the head node returns before its workers. A cluster started here gets no more
    machines, so there is no wait.

    Raises:
        InputError: The cluster cannot run one trial.
    """
    resources = search.resources
    waits = len(study) > 0 and resources.address is not None
    if waits and search.settings.training.device == "cuda" and resources.gpus_per_trial is None:
        resources = replace(resources, gpus_per_trial=1.0)  # a machine without GPUs may return before others
    share = partial(share_by_memory, study) if resources.by_memory else None
    patience = math.inf if time_budget is None else time_budget
    return Slots(resources, cluster, share, wait=patience if waits else 0.0)


def storage_of(search: Search) -> Storage:
    """The storage of a search's checkpoints: its directory, or its own folder below `storage` if that is set.

    Raises:
        InputError: `storage` is neither a folder nor a URI.
    """
    path = search.resources.storage_path
    if path is None:
        return Storage(str(search.folder / TRIALS_FOLDER))
    return Storage.named(path) / f"{search.name}-{search.uid}"


def _refuse_unshared(search: Search, storage: Storage, cluster: Cluster) -> None:
    if search.resources.storage_path is not None:
        sharing.refuse_unwritable(storage)
    if search.resources.address is not None:
        able = [node_id for node_id, machine in cluster.machines().items() if machine.get("CPU", 0) > 0]
        sharing.refuse_unseen(storage, able)
        sharing.sign(storage)


def _finish(search: Search, study: Study, slots: int, storage: Storage) -> results.SearchResult:
    study.come_to_rest()
    TrialTable(study, search.space, search.folder, at_rest=True).write()
    found = verdict(study)
    if found is not None and found.is_over and study.confirmation is not None:
        study.confirmation.handed_over = found.handed_over
        study.save()
    winner = study.winner()
    is_done = is_whole(study, search.space)
    if winner is None:
        n_failed = study.counts()["FAIL"]
        reason = next((t.reason for t in study if t.state == "FAIL" and t.reason), "unknown reason")
        if is_done:
            raise RuntimeError(f"all {len(study)} trials failed; the first one: {reason}")
        ended = "no trial reached its first checkpoint in time"
        if n_failed:
            ended += f", {n_failed} failed ({reason})"
        raise InputError(f"--time-budget: {ended}: continue with --resume {search.name}")
    if is_done and (notice := used_up(study, search.space)):
        console.print(notice, soft_wrap=True)
    if is_done and (end := early_end(study, search.space)) is not None:
        console.print(end.line(search.objective), soft_wrap=True)
    _write_best(search, study, storage)
    write_front(search, study)
    unconfirmed = plan(study, search.space, search.settings) if is_done else ""
    return results.SearchResult(
        folder=search.folder,
        objective=search.objective,
        mode=search.mode,
        counts=study.counts(),
        best=winner,
        slots=slots,
        busy=busy_share(study, slots),
        seconds=session_seconds(study),
        top=tuple(study.ranked()[:_TOP]),
        num_samples=search.space.search.num_samples,
        is_whole=is_done and not is_due(study, search.space, search.settings),
        confirmation=found,
        unconfirmed=unconfirmed if isinstance(unconfirmed, str) else "",
        early_end=early_end(study, search.space) if is_done else None,
        front=front_as_json(search, study),
        search=search.space.search,
    )


def _write_best(search: Search, study: Study, storage: Storage) -> None:
    """Write the winner's files, with what further seeds say about it."""
    winner, found = study.winner(), verdict(study)
    if winner is not None:
        lines = found.lines() if found is not None else []
        results.write_best(winner, search.settings, storage, search.folder, lines)
        keep_run_keys(search.folder / BEST_VERSION, run_key(search.uid, winner), search.uid)


Data = dict[tuple[Scalar, ...], TrainingData]
"""Training data by the values of the searched data settings."""


def _data(search: Search, data_for: Callable[[Settings], TrainingData]) -> Data:
    data: Data = {}
    for combination in search.space.combinations(data_leaves()):
        settings = (
            search.settings.override(combination, source=SEARCH_FILE) if combination else search.settings
        )
        own = settings.leaves()
        data[tuple(own[name] for name in _searched_leaves(search))] = data_for(settings)
    return data


def _searched_leaves(search: Search) -> tuple[str, ...]:
    leaves = data_leaves()
    return tuple(name for name in search.space.dimensions if name in leaves)


def _work(search: Search, data: Data, train: Train, storage: Storage) -> Work:
    rules, leaves = search.space.search, _searched_leaves(search)
    return Work(search.settings, rules, data, leaves, storage.place, train)
