"""Records checkpoints and finished trials in the search directory; removes checkpoints no longer needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyarrow import ArrowException
from ray.tune import Callback

from themo.errors import InputError, reason_of
from themo.files.atomic import write_text
from themo.files.disk_space import Patience
from themo.process.progress import console
from tune.cluster.storage import Storage
from tune.results.trial_table import TrialTable
from tune.space.search_space import Space
from tune.study.naming import FAILURES_FOLDER
from tune.study.study import Study
from tune.worker.trial_report import read_report

_SECONDS_BETWEEN_SAVES = 10.0


class Keeper(Callback):  # type: ignore[misc]  # Ray has no types
    """Ray callback that keeps each trial's newest checkpoint, the trial table and the failure logs.

    Ray can keep the newest checkpoint too (`num_to_keep=1`), but saves a snapshot of all its state, with a
    warning, for each checkpoint.

    Args:
        study: The record.
        space: The search space.
        folder: The search directory.
        storage: The storage of checkpoints.
        session: Name of this session's folder in the storage.
        patience: Retries while the disk is full.
        keeps_students: Whether an ended trial keeps its checkpoint and enters the table; False for the runs
            that confirm a winner, of which only the scores are of use.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        folder: Path,
        storage: Storage,
        session: str,
        patience: Patience,
        *,
        keeps_students: bool = True,
    ) -> None:
        self._study = study
        self._keeps_students = keeps_students
        self._kind = "trial" if keeps_students else "confirmation"
        self._table = TrialTable(study, space, folder)
        self._folder = folder
        self._storage = storage
        self._session = session
        self._patience = patience
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
                self._remove(old)

    def _remove(self, path: str) -> None:
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
        """Update the trial table, or remove the student of a run that confirms a winner."""
        if self._keeps_students:
            self._patience(self._table.write)
            return
        record = self._study[trial.config["number"]]
        if record.is_done and (path := record.checkpoint) is not None:
            self._study.drop_checkpoint(record.number)  # first: a kill in between leaves a folder, not a gap
            self._remove(path)

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """Update the trial table and save Ray's error log of the worker."""
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
