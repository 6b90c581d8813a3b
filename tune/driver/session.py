"""A session of a search: joins the cluster, runs the trials, confirms the winner, writes the results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.process.output import from_here, with_command
from themo.process.progress import console
from themo.tracking.runs import Tracking
from themo.tracking.uri import tracking_uri, ui_command
from tune.cluster import sharing
from tune.cluster.connection import Cluster, Machine, connect
from tune.cluster.slots import Slots
from tune.cluster.storage import Storage
from tune.confirmation.plan import begin, plan
from tune.confirmation.verdict import is_finished
from tune.driver.checkpoints import match_checkpoints
from tune.driver.loop import Loop
from tune.driver.mlflow_runs import MlflowRuns
from tune.driver.outcome import finish, write_winner
from tune.driver.rungs_in_pairs import print_idle_rungs, with_rungs
from tune.driver.session_state import SessionState
from tune.driver.stages import confirmation_of, never_stopped, trials_of
from tune.driver.stoppers import TimeBudget
from tune.driver.work_of_search import data_of_trials, work_of_search
from tune.results.best_trials import BEST_SETTINGS, SearchResult
from tune.results.mlflow_runs import SearchRuns
from tune.study.confirmation import Confirmation
from tune.study.limits import are_trials_done
from tune.study.reports import ReportLog
from tune.study.search import Search, alone, refuse_other_pairs
from tune.study.study import Study
from tune.study.tracking_place import keep_place, refuse_another_place
from tune.study.work_time import most_at_once
from tune.worker.entry import train
from tune.worker.memory import peak_memory, share_by_memory
from tune.worker.work import Train, Work

RAY_LOG = "ray.log"


def run_search(
    search: Search,
    data_for: Callable[[Settings], TrainingData],
    train: Train = train,
    time_budget: float | None = None,
    measure: Callable[[], float | None] = peak_memory,
    resume_command: str = "",
) -> SearchResult:
    """Run or resume a search, and write its results.

    Args:
        search: From `new_search` or, to resume, from `read_search`.
        data_for: Returns the training data of settings. Called for each combination of searched data
            settings, after the cluster and the storage have been checked and before any trial starts.
        train: The training function of a trial; a module-level function, so that workers can import it.
        time_budget: Seconds, from the call on, after which the session ends, also during the confirmation;
            running trials keep their last checkpoint, from which a resumed search continues them. The
            preparation of data is not interrupted; if it takes all the time, no trial starts.
        measure: Returns, on a worker, the peak share of a GPU's memory that its trial used.
        resume_command: The command that resumes the search, to print; empty: none is printed.

    Returns:
        The results of the session.

    Raises:
        InputError: The cluster is too small (a resumed search waits for its cluster first), the MLflow server
            is unreachable or not the search's, another process runs this search, a machine does not share
            the storage, checkpoints are missing, the data is invalid or not the search's, trials require GPUs
            and get none.
        TimeIsUpError: No trial reached a checkpoint within the time budget; the search can be resumed.
        KeyboardInterrupt: Interrupted; the search can be resumed.
        ClusterError: Ray failed, or too many trials in a row; the search can be resumed.
        RuntimeError: All trials failed.
    """
    budget = TimeBudget(math.inf if time_budget is None else time_budget)
    with alone(search.folder):  # until the results are written too
        refuse_another_place(search.folder, search.settings.paths.experiment)
        state = SessionState.of(search)
        slots = _run(state, data_for, train, budget, measure, resume_command)
        return state.patience(lambda: finish(state, slots))


def _run(
    state: SessionState,
    data_for: Callable[[Settings], TrainingData],
    train: Train,
    budget: TimeBudget,
    measure: Callable[[], float | None],
    resume_command: str,
) -> int:
    """Run the trials and the confirmation; return the largest number of slots of any session."""
    search, study, patience = state.search, state.study, state.patience
    folder = search.folder
    experiment, uri = search.settings.paths.experiment, tracking_uri(Path(search.settings.paths.logs_dir))
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
            match_checkpoints(study, state.storage)
        # a kill may have come after the last trial or run, before the results
        if is_finished(study, search):
            return most_at_once(study)
        cluster = stack.enter_context(connect(search.resources.address, folder / RAY_LOG))
        slots = _slots(state, cluster, budget)
        _refuse_unfit(state, cluster)
        if resume_command:
            # here: some failures, such as the loss of a cluster's head, leave no chance to print
            console.print(with_command("To resume: ", resume_command, console), soft_wrap=True)
        console.print(with_command("Runs in MLflow: ", ui_command(uri), console), soft_wrap=True)
        if cluster.dashboard:
            console.print(f"Ray dashboard: {cluster.dashboard}", soft_wrap=True)
        data = data_of_trials(search, data_for)
        search = patience(lambda: with_rungs(search, data))
        print_idle_rungs(search, data.values())
        corpora = {str(values): each.corpus for values, each in data.items() if each.corpus}
        targets = {str(values): each.targets for values, each in data.items() if each.targets}
        patience(lambda: refuse_other_pairs(folder, corpora, targets))
        state = replace(state, search=search)
        work = work_of_search(state, data, train, measure)
        reports = partial(MlflowRuns, log=ReportLog(folder, patience), tracking=tracking)
        if not (are_trials_done(study, search.space) or budget.stop_all()):
            loop = Loop(state)
            loop.run(trials_of(state, loop.session, slots, reports), work, slots, budget)
        _confirm(state, reports, work, slots, budget)
    return max(slots.most, most_at_once(study))


def _confirm(
    state: SessionState,
    runs: Callable[[Study], MlflowRuns],
    work: Work,
    slots: Slots,
    budget: TimeBudget,
) -> None:
    """Confirm the winner of a search whose trials are done, unless it is confirmed or time is up.

    Raises:
        KeyboardInterrupt, ClusterError: As in `Loop.run`; the results of the search are written before.
    """
    search, study = state.search, state.study
    if not are_trials_done(study, search.space) or is_finished(study, search):
        return
    chosen = plan(study, search.space, search.settings)
    if not isinstance(chosen, Confirmation):
        return
    begin(study, chosen)
    study.save()
    state.patience(lambda: write_winner(state))
    if budget.stop_all():
        return
    others = " and ".join(map(str, chosen.rivals))
    console.print(
        f"Confirming trial {chosen.winner} against {others} with at most {len(chosen.seeds)} further seeds",
        soft_wrap=True,
    )
    loop = Loop(state)
    stage = confirmation_of(state, loop.session, runs)
    try:
        loop.run(stage, replace(work, search=never_stopped(work.search)), slots, budget)
    except KeyboardInterrupt:
        best = from_here(search.folder / BEST_SETTINGS)
        console.print(f"The confirmation was interrupted; the search is done: {best}", soft_wrap=True)
        raise


def _slots(state: SessionState, cluster: Cluster, budget: TimeBudget) -> Slots:
    """The number of trials that the cluster can run at once.

    A resumed search on an existing cluster waits, at most for the rest of its time budget, until the cluster
    can run one trial: after a restart the head node returns before its workers. A cluster started here gets
    no more machines, so there is no wait.

    Raises:
        InputError: The cluster cannot run one trial.
    """
    search, study = state.search, state.study
    resources = search.resources
    waits = len(study) > 0 and resources.address is not None
    if waits and search.settings.training.device == "cuda" and resources.gpus_per_trial is None:
        resources = replace(resources, gpus_per_trial=1.0)  # a machine without GPUs may return before others
    share = partial(share_by_memory, study) if resources.by_memory else None
    return Slots(resources, cluster, share, wait=budget.left() if waits else 0.0)


def _refuse_unfit(state: SessionState, cluster: Cluster) -> None:
    """Refuse a cluster without the GPUs that trials need, or machines that do not share the storage."""
    search, machines = state.search, cluster.machines()
    search.resources.on(list(machines.values())).refuse_no_gpus(search.settings.training.device)
    state.patience(lambda: _refuse_unshared(search, state.storage, machines))


def _refuse_unshared(search: Search, storage: Storage, machines: Mapping[str, Machine]) -> None:
    if search.resources.storage_path is not None:
        sharing.refuse_unwritable(storage)
    if search.resources.address is not None:
        able = [node_id for node_id, machine in machines.items() if machine.get("CPU", 0) > 0]
        sharing.refuse_unseen(storage, able)
        sharing.sign(storage)
