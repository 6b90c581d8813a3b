"""Records checkpoints and finished trials in the search directory; removes checkpoints no longer needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyarrow import ArrowException
from ray.tune import Callback

from themo.errors import InputError, reason_of
from themo.files.atomic import write_text
from themo.process.progress import console
from tune.cluster.storage import Storage
from tune.driver.session_state import SessionState
from tune.study.naming import FAILURES_FOLDER
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.worker.trial_report import read_report

_SECONDS_BETWEEN_SAVES = 10.0


class Keeper(Callback):  # type: ignore[misc]  # Ray has no types
    """Ray callback that keeps each trial's newest checkpoint and the failure logs.

    Ray can keep the newest checkpoint too (`num_to_keep=1`), but saves a snapshot of all its state, with a
    warning, for each checkpoint.

    Args:
        state: The search, its storage and the patience while the disk is full.
        record: The trials of a stage.
        session: Name of the stage's folder in the storage.
        kind: Word for a trial of the stage, in warnings and in names of failure logs.
        on_end: Takes a trial when an attempt at it has ended.
    """

    def __init__(
        self, state: SessionState, record: Study, session: str, kind: str, on_end: Callable[[Trial], None]
    ) -> None:
        self._study = record
        self._folder = state.search.folder
        self._storage = state.storage
        self._session = session
        self._kind = kind
        self._on_end = on_end
        self._patience = state.patience
        self._has_warned = False

    def on_checkpoint(self, *, trial: Any, checkpoint: Any, **_: object) -> None:
        """Flush and record a new checkpoint, then remove the previous one."""
        record = self._study[trial.config["number"]]
        before = record.checkpoint
        path = f"{self._session}/{checkpoint.path.rpartition(f'/{self._session}/')[2]}"
        self._storage.retry_until_reachable(lambda: self._storage.sync(path))
        record.enter_checkpoint(path)
        self._study.save()
        in_use = {other.checkpoint for other in self._study}  # other trials may resume from it too
        for old in {before, *(step.checkpoint for step in record.lineage)} - in_use:
            if old is not None:
                self.remove(old)

    def remove(self, path: str) -> None:
        """Remove a checkpoint; on failure warn once. The next resume tries again."""
        try:
            self._storage.remove(path)
        except (OSError, ArrowException) as error:
            if not self._has_warned:
                console.print(f"Warning: an old checkpoint cannot be removed: {path}: {reason_of(error)}")
            self._has_warned = True

    def on_step_end(self, **_: object) -> None:
        """Save the record now and then, so that `status` shows reports before the next checkpoint."""
        self._study.save_if_older(_SECONDS_BETWEEN_SAVES)

    def on_trial_result(self, *, result: dict[str, Any], **_: object) -> None:
        """Save the traceback of a failed trial; warn when a worker waits."""
        report = read_report(result)
        if report.waits:
            console.print(f"Warning: {self._kind} {report.number} is waiting for {report.waits}")
        if report.traceback:
            self._note_failure(report.number, report.traceback)

    def on_trial_complete(self, *, trial: Any, **_: object) -> None:
        """Call `on_end` with the trial."""
        self._on_end(self._study[trial.config["number"]])

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """Save Ray's error log of the worker and call `on_end` with the trial."""
        account = Path(trial.error_file)
        if account.is_file():
            self._note_failure(trial.config["number"], account.read_text(encoding="utf-8"))
        self.on_trial_complete(trial=trial)

    def _note_failure(self, number: int, text: str) -> None:
        failures = self._folder / FAILURES_FOLDER

        def write() -> None:
            failures.mkdir(exist_ok=True)
            write_text(failures / f"{self._kind}-{number:04d}.txt", text)

        self._patience(write)


def match_checkpoints(study: Study, storage: Storage) -> None:
    """Check that all needed checkpoints of earlier sessions exist, and remove those that are not needed.

    Not needed are the checkpoints of failed trials, and complete or partial checkpoints that a killed driver
    did not record. Call this between sessions, from the process that holds the search's lock: during a
    session, a checkpoint exists before it is recorded.

    An unreadable storage, or a checkpoint that cannot be removed, causes a warning only.

    Raises:
        InputError: A checkpoint is missing that a trial resumes from or that may hold the best student.
    """
    failures: list[str] = []
    try:
        found = storage.checkpoints()
    except (OSError, ArrowException) as error:
        console.print(f"Warning: old checkpoints cannot be listed: {reason_of(error)}")
        return
    needed = {trial.checkpoint for trial in study if trial.checkpoint and trial.state != "FAIL"}
    needed |= checkpoints_of_runs(study)
    if gone := sorted(needed - found):
        raise InputError(
            f"--resume: {len(gone)} of {len(needed)} checkpoints are not at {storage.place}, such as "
            f"{gone[0]}: mount it, or start a new search with --warm-start"
        )
    for path in sorted(found - checkpoints_to_keep(study)):
        try:
            storage.remove(path)
        except (OSError, ArrowException) as error:
            failures.append(f"{path}: {reason_of(error)}")
    if failures:
        console.print(f"Warning: {len(failures)} unused checkpoints cannot be removed, such as {failures[0]}")


def checkpoints_to_keep(study: Study) -> set[str]:
    """Paths of the checkpoints that trials may resume from, or that may hold the best student.

    Checkpoints of failed trials are not kept. A trial that took over another one's checkpoint keeps its own
    too, until its next one is complete.
    """
    own = {trial.checkpoint for trial in study if trial.state != "FAIL"}
    left = {step.checkpoint for trial in study if not trial.is_done for step in trial.lineage}
    return {path for path in own | left if path} | checkpoints_of_runs(study)


def checkpoints_of_runs(study: Study) -> set[str]:
    """Paths of the checkpoints that the confirmation's runs resume from; an ended run needs none."""
    return {run.checkpoint for run in study.runs if run.checkpoint and not run.is_done}
