"""Runs Ray Tune's loop over a stage of a session, and saves the record however the loop ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pyarrow import ArrowException

from themo.errors import reason_of
from themo.files.disk_space import is_full
from themo.process.progress import console
from tune.cluster.connection import ClusterError
from tune.cluster.resources import Resources
from tune.cluster.slots import Slots
from tune.cluster.storage import SESSION_PREFIX, TRIAL_PREFIX
from tune.results.run_tags import run_name
from tune.results.trial_table import TrialTable
from tune.study.naming import FAILURES_FOLDER
from tune.study.trial_record import Trial
from tune.worker.entry import run
from tune.worker.work import Work

if TYPE_CHECKING:
    from tune.driver.session_state import SessionState
    from tune.driver.stages import Stage
    from tune.driver.stoppers import TimeBudget

_MOST_PENDING = 10_000
"""No limit of Ray's own: the searcher returns at most one trial a slot."""


class Loop:
    """The loop of one stage of a session, with a folder of its own in the storage.

    Args:
        state: The search and its record.
    """

    def __init__(self, state: SessionState) -> None:
        self._search, self._study, self._storage = state.search, state.study, state.storage
        self._name = _next_session(self._storage.retry_until_reachable(self._storage.folders))

    @property
    def session(self) -> str:
        """Name of the loop's folder in the storage."""
        return self._name

    def run(self, stage: Stage, work: Work, slots: Slots, budget: TimeBudget) -> None:
        """Run Ray's loop until the stage is done or the time budget is spent.

        Raises:
            KeyboardInterrupt: Interrupted.
            ClusterError: One trial after another was lost (`tune.driver.stoppers`).
        """
        from ray import tune as ray_tune
        from ray.tune.stopper import CombinedStopper

        from tune.driver.scheduler import StudyScheduler
        from tune.driver.searcher import StudySearcher
        from tune.driver.stoppers import Breakdown

        search, study, record = self._search, self._study, stage.record
        resources = search.resources
        is_open = resources.gpus_per_trial is None
        trainable, removers = _trainable(search.uid, resources, work)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(_MOST_PENDING)
        breakdown = Breakdown(lambda: slots.most)
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        try:
            ray_tune.run(
                trainable,
                name=self._name,
                num_samples=-1,  # until the searcher has no trial left
                storage_path=self._storage.place,
                search_alg=StudySearcher(
                    stage.space, record, slots, slots.share, stage.draw, is_share_open=is_open
                ),
                scheduler=StudyScheduler(stage.space, record, search.objective, breakdown),
                stop=CombinedStopper(breakdown, budget),
                max_failures=0,  # the searcher retries
                raise_on_failed_trial=False,
                reuse_actors=resources.workers == 1,  # an actor's data-parallel workers end with it
                callbacks=[*removers, stage.keeper, stage.runs, stage.view],
                trial_dirname_creator=lambda trial: trial_folder(record[trial.config["number"]]),
                verbose=0,
            )
        finally:
            stage.view.close()
            if signal.getsignal(signal.SIGINT) is not on_ctrl_c:
                signal.signal(
                    signal.SIGINT, on_ctrl_c
                )  # Ray leaves its own handler, which ignores the next Ctrl-C
            study.reset_to_checkpoints()
            _write_what_fits(study.save)
            _write_what_fits(TrialTable(study, search.space, search.folder, at_rest=True).write)
            self._tidy()
        is_done = stage.is_done()
        if not is_done and breakdown.stop_all():
            raise ClusterError(f"{breakdown}: see {search.folder / FAILURES_FOLDER}")
        if not is_done and not budget.is_over:  # Ray returns normally after the first Ctrl-C
            raise KeyboardInterrupt

    def _tidy(self) -> None:
        """Remove Ray's own files, which are never read: the study holds the state."""
        try:
            self._storage.remove_loose_files(self._name)
        except (OSError, ArrowException) as error:  # must not fail a finished search
            console.print(f"Warning: unused files of {self._name} cannot be removed: {reason_of(error)}")


def _trainable(uid: str, resources: Resources, work: Work) -> tuple[Any, list[Any]]:
    """The trainable with its resource request, and the callbacks that free resources of ended trials."""
    from ray import tune as ray_tune

    if resources.workers > 1:
        from tune.worker import data_parallel

        share = {"workers": resources.workers, "cpus": resources.of_worker["CPU"]}
        trainable = ray_tune.with_parameters(data_parallel.run, work=work, uid=uid, **share)
        remover = data_parallel.GroupRemover(uid)
        return ray_tune.with_resources(trainable, data_parallel.REQUEST), [remover]

    def request(config: dict[str, Any]) -> Any:  # trials may differ in their share of a GPU
        return ray_tune.PlacementGroupFactory([{"CPU": resources.cpus_per_trial, "GPU": config["gpus"]}])

    return ray_tune.with_resources(ray_tune.with_parameters(run, work=work), request), []


def _write_what_fits(write: Callable[[], None]) -> None:
    """Write a file; keep the previous one if the disk is full and the wait was interrupted."""
    try:
        write()
    except OSError as error:
        if not is_full(error):
            raise


def _next_session(folders: Iterable[str]) -> str:
    """Name of the folder of a new session, numbered after the highest existing one."""
    numbers = [name.removeprefix(SESSION_PREFIX) for name in folders if name.startswith(SESSION_PREFIX)]
    return f"{SESSION_PREFIX}{max(map(int, filter(str.isdigit, numbers)), default=0) + 1}"


def trial_folder(trial: Trial) -> str:
    """The name of a trial's folder: ``trial-0007``; for a run of the confirmation ``confirms-3-seed-1``.

    `themo.checkpoints.search_parts.trial_key` reads the key of the trial's run in MLflow from it.
    """
    name = f"{TRIAL_PREFIX}{trial.number:04d}" if trial.confirms is None else run_name(trial)
    begun = trial.checkpoint_pairs  # a resumed trial must not overwrite its checkpoint
    return f"{name}-from-{begun}" if begun else name
