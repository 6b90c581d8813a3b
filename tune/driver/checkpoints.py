"""Enters checkpoints and ends into the search directory as Ray reports them; removes what nothing needs."""

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
from tune.study.study import Study
from tune.worker.trial_report import read_report

FAILURES_FOLDER = "failures"

_SECONDS_BETWEEN_SAVES = 10.0


class Keeper(Callback):  # type: ignore[misc]  # Ray has no types
    """Keeps a trial's newest checkpoint, the table of trials, and where a trial failed.

    Ray would keep the newest checkpoint too (`num_to_keep=1`), but takes a snapshot of all its state, with a
    warning, for each.

    Args:
        study: The record.
        space: What is searched.
        folder: The search directory.
        storage: Where checkpoints are.
        session: Name of the folder of this session's checkpoints there.
        patience: Waits for room on a full disk.
    """

    def __init__(
        self, study: Study, space: Space, folder: Path, storage: Storage, session: str, patience: Patience
    ) -> None:
        self._study = study
        self._table = TrialTable(study, space, folder)
        self._folder = folder
        self._storage = storage
        self._session = session
        self._patience = patience
        self._has_warned = False

    def on_checkpoint(self, *, trial: Any, checkpoint: Any, **_: object) -> None:
        """Enter a checkpoint, then remove the one before it."""
        record = self._study[trial.config["number"]]
        before = record.checkpoint
        path = f"{self._session}/{checkpoint.path.rpartition(f'/{self._session}/')[2]}"
        self._storage.when_there(lambda: self._storage.sync(path))  # before the one that it replaces is gone
        record.enter_checkpoint(path)
        self._study.save()
        in_use = {other.checkpoint for other in self._study}  # other trials may go on from it too
        for old in {before, *(step.checkpoint for step in record.lineage)} - in_use:
            if old is not None:
                self._remove(old)

    def _remove(self, path: str) -> None:
        """Remove a checkpoint; where that fails, of which Ray says nothing, the next resume tries again."""
        try:
            self._storage.remove(path)
        except (OSError, ArrowException) as error:
            if not self._has_warned:
                console.print(f"Warning: an old checkpoint cannot be removed: {path}: {reason_of(error)}")
            self._has_warned = True

    def on_step_end(self, **_: object) -> None:
        """Let `status` see reports that no checkpoint follows soon."""
        self._study.save_if_older(_SECONDS_BETWEEN_SAVES)

    def on_trial_result(self, *, result: dict[str, Any], **_: object) -> None:
        """Write down where a trial raised; say that its worker waits."""
        report = read_report(result)
        if report.waits:
            console.print(f"Warning: trial {report.number} waits for {report.waits}")
        if report.traceback:
            self._note_failure(report.number, report.traceback)

    def on_trial_complete(self, **_: object) -> None:
        """Bring the table up to date."""
        self._patience(self._table.write)

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """Bring the table up to date and keep Ray's account of the death of a worker."""
        account = Path(trial.error_file)
        if account.is_file():
            self._note_failure(trial.config["number"], account.read_text(encoding="utf-8"))
        self.on_trial_complete()

    def _note_failure(self, number: int, text: str) -> None:
        failures = self._folder / FAILURES_FOLDER

        def write() -> None:
            failures.mkdir(exist_ok=True)
            write_text(failures / f"trial-{number:04d}.txt", text)

        self._patience(write)


def match_checkpoints(study: Study, storage: Storage) -> None:
    """Refuse to go on without a checkpoint of earlier sessions, and remove those that nothing needs.

    These are the checkpoints of failed trials, and those, whole or in part, that a driver did not live to
    enter. To be called between sessions, by the process that holds the search: during a session, a checkpoint
    stands before it is entered.

    A storage that cannot be looked into, and a checkpoint that cannot be removed, cost a warning.

    Raises:
        InputError: One is gone that a trial goes on from or that a result may be.
    """
    failures: list[str] = []
    try:
        found = storage.checkpoints()
    except (OSError, ArrowException) as error:
        console.print(f"Warning: old checkpoints cannot be looked for: {reason_of(error)}")
        return
    needed = {trial.checkpoint for trial in study if trial.checkpoint and trial.state != "FAIL"}
    if gone := sorted(needed - found):
        raise InputError(
            f"--resume: {len(gone)} of {len(needed)} checkpoints are not at {storage.place}, such as "
            f"{gone[0]}: mount it, or begin anew with --warm-start"
        )
    for path in sorted(found - study.checkpoints()):
        try:
            storage.remove(path)
        except (OSError, ArrowException) as error:
            failures.append(f"{path}: {reason_of(error)}")
    if failures:
        console.print(
            f"Warning: {len(failures)} old checkpoints that nothing needs stay, for they cannot be removed, "
            f"such as {failures[0]}"
        )
