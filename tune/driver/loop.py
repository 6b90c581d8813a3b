"""Runs Ray Tune's loop over the trials of a session, and saves the record however the loop ends."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pyarrow import ArrowException

from themo.errors import reason_of
from themo.files.disk_space import Patience, is_full
from themo.process.progress import console
from themo.tracking.runs import Tracking
from tune.cluster.connection import ClusterError
from tune.cluster.resources import Resources
from tune.cluster.slots import Slots
from tune.cluster.storage import SESSION_PREFIX, TRIAL_PREFIX, Storage
from tune.driver.checkpoints import Keeper
from tune.results.trial_table import TrialTable
from tune.schedulers.rules import scheduler_of
from tune.study.limits import is_whole
from tune.study.naming import FAILURES_FOLDER
from tune.study.search import Search
from tune.study.study import Study
from tune.study.tried import most_trials
from tune.worker.trial import Work, run

if TYPE_CHECKING:
    from tune.driver.mlflow_runs import MlflowRuns

_MOST_PENDING = 10_000
"""No limit of Ray's own: the searcher returns at most one trial a slot."""


class Loop:
    """The loop of one session.

    Args:
        search: The search.
        study: The record.
        storage: The storage of checkpoints.
        patience: Retries while the disk is full.
    """

    def __init__(self, search: Search, study: Study, storage: Storage, patience: Patience) -> None:
        self._search = search
        self._study = study
        self._storage = storage
        self._patience = patience
        self._name = _next_session(storage.when_there(storage.folders))

    def run(self, work: Work, slots: Slots, tracking: Tracking, time_budget: float | None) -> None:
        """Run Ray's loop until all trials are done or the time budget is spent.

        Raises:
            KeyboardInterrupt: Interrupted.
            ClusterError: One trial after another was lost (`tune.driver.stoppers`).
        """
        from ray import tune as ray_tune
        from ray.tune.stopper import CombinedStopper

        from tune.driver.searcher import StudyScheduler, StudySearcher
        from tune.driver.stoppers import Breakdown, TimeBudget
        from tune.results.live import LiveView

        search, study = self._search, self._study
        resources = search.resources
        is_open = resources.gpus_per_trial is None
        trainable, removers = _trainable(search.uid, resources, work)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(_MOST_PENDING)
        breakdown = Breakdown(lambda: slots.most)
        budget = TimeBudget(math.inf if time_budget is None else time_budget)
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        space = search.space
        view = LiveView(
            study,
            most_trials(study, space),
            len(space.first),
            slots,
            search.objective,
            search.settings,
            scheduler_of(space.search, space).forecast,
        )
        runs = runs_of(search, study, tracking)
        try:
            ray_tune.run(
                trainable,
                name=self._name,
                num_samples=-1,  # until the searcher has no trial left
                storage_path=self._storage.place,
                search_alg=StudySearcher(search.space, study, slots, slots.share, is_share_open=is_open),
                scheduler=StudyScheduler(search.space, study, search.objective, breakdown),
                stop=CombinedStopper(breakdown, budget),
                max_failures=0,  # the searcher retries
                raise_on_failed_trial=False,
                reuse_actors=resources.workers == 1,  # an actor's data-parallel workers end with it
                callbacks=[
                    *removers,
                    Keeper(study, search.space, search.folder, self._storage, self._name, self._patience),
                    runs,
                    view,
                ],
                trial_dirname_creator=_trial_folder,
                verbose=0,
            )
        except BaseException:
            study.come_to_rest()
            runs.close("KILLED")
            raise
        finally:
            view.close()
            if signal.getsignal(signal.SIGINT) is not on_ctrl_c:
                signal.signal(
                    signal.SIGINT, on_ctrl_c
                )  # Ray leaves its own handler, which ignores the next Ctrl-C
            study.come_to_rest()
            _write_what_fits(study.save)
            _write_what_fits(TrialTable(study, search.space, search.folder, at_rest=True).write)
            self._tidy()
        is_done = is_whole(study, search.space)
        runs.close("FINISHED" if is_done else "KILLED")
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


def runs_of(search: Search, study: Study, tracking: Tracking) -> MlflowRuns:
    """The MLflow runs of a search; runs of trials that ended earlier are closed."""
    from tune.driver.mlflow_runs import MlflowRuns

    space = search.space
    return MlflowRuns(
        tracking,
        study,
        search.name,
        search.uid,
        search.to_tree(),
        [name for name in space.dimensions if name not in space.conditions],  # some trials lack the others
        search.objective,
    )


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


def _trial_folder(trial: Any) -> str:
    begun = trial.config["checkpoint_pairs"]  # a resumed trial must not overwrite its checkpoint
    return f"{TRIAL_PREFIX}{trial.config['number']:04d}" + (f"-from-{begun}" if begun else "")
