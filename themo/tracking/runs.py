"""The thread that keeps MLflow up to date with the record of a search, a version or a command.

The default is SQLite beside the logs, or the server of ``MLFLOW_TRACKING_URI``. Nothing here is global, and
no caller waits for the server, except for a limited time at the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from themo.errors import InputError, reason_of
from themo.files.disk_space import IMPATIENT, Patience
from themo.process.output import typed, with_command
from themo.process.progress import console
from themo.tracking.answers import UnreachableError
from themo.tracking.mirror import Mirror
from themo.tracking.projection import Projection, Run, RunStatus
from themo.tracking.registry import Registered, register, registered_before
from themo.tracking.unsent import Destination, Mark, mark
from themo.tracking.uri import check_reachable, without_password

CLOSE_SECONDS = 30.0
"""Seconds that a finished command waits for the server to take the rest."""

_PATIENT_SECONDS = 2.0
"""Seconds that a command waits before it prints a message."""

_SECONDS_BETWEEN_LOOKS = 5.0
"""Seconds between checks of the record without `wake`."""
_LEAST_PAUSE, _PAUSE_SHARE = 0.2, 10
"""Least pause between two checks, in seconds, and as a multiple of the duration of the last one."""
_LONGEST_WAIT = 20.0
"""Longest wait between two retries of an unreachable server, in seconds."""

Project = Callable[[], Projection]
"""Computes the runs from the record; called in a thread of its own."""


class Tracking:
    """Sends a projection to one MLflow experiment whenever its record changes.

    Use as a context manager, so that everything is sent before the program ends. A folder that is not sent
    then stays marked (`themo.tracking.unsent`), for the next program or the command ``send``.

    Args:
        uri: From `tracking_uri`.
        experiment: Name of the experiment; created if missing.
        project: Computes the runs from the record.
        folder: The folder of the record; None: the runs are of this program alone.
        must_answer: Refuse a server that is unreachable now; else it may become reachable later.
        adds_only: Another program may send the other runs of the folder, which is marked only if this one
            could not send its part. A mark that the folder has stays.
        patience: Whether to wait for space on a full disk for the mark of the folder.

    Attributes:
        mirror: State of the server.
        failure: Reason of the last failure; empty without one.

    Raises:
        InputError: The server or database cannot be reached, or refuses the experiment; another process sends
            the runs of the folder.
        OSError: The disk is full.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        project: Project,
        folder: Path | None = None,
        *,
        must_answer: bool = True,
        adds_only: bool = False,
        patience: Patience = IMPATIENT,
    ) -> None:
        self.uri = uri
        self.folder = folder
        self.mirror = Mirror(uri, experiment, self._reject)
        self.failure = ""
        self._project = project
        self._mark: Mark | None = None
        if folder is not None and not adds_only:
            self._mark = patience(lambda: Mark(folder))
        try:
            if must_answer:
                check_reachable(uri)
                self.mirror.connect()
            if folder is not None and (held := self._mark) is not None:  # a refused server is in no mark
                patience(lambda: held.write(self._destination(folder)))
        except BaseException:
            self._release(is_sent=self._mark is None or self._mark.is_new)
            raise
        self._warned: set[str] = set()
        self._state = threading.Condition()
        self._asked = self._done = 0
        self._news, self._hurry = threading.Event(), threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
        self._thread.start()

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment; None before the server has answered once."""
        return self.mirror.experiment_id

    def wake(self) -> None:
        """Request a check of the record, which has changed."""
        self._news.set()

    def flush(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until the server has the current record; return False after `seconds`."""
        with self._state:
            self._asked += 1
            asked = self._asked
            self._hurry.set()
            self._news.set()
            return self._state.wait_for(lambda: self._done >= asked, seconds)

    def close(self, seconds: float = CLOSE_SECONDS, *, warn: bool = True) -> bool:
        """Send the rest within `seconds`, and end the thread; return whether the server has all."""
        if self._is_closed:
            return True
        is_sent = False
        try:
            is_sent = self._flush_aloud(seconds, warn)
        finally:
            self._is_closed = self.mirror.is_stopped = True
            self._hurry.set()
            self._news.set()  # a thread that waits for the server is a daemon
            self._release(is_sent=is_sent)
        return is_sent

    def _flush_aloud(self, seconds: float, warn: bool) -> bool:
        what = f"the runs of {self.folder}" if self.folder else "its run"
        is_sent = self.flush(min(seconds, _PATIENT_SECONDS))
        if not is_sent and seconds > _PATIENT_SECONDS:
            if warn:
                server = without_password(self.uri)
                console.print(f"Sending {what} to MLflow at {server}, for at most {seconds:.0f} s")
            is_sent = self.flush(seconds - _PATIENT_SECONDS)
        if not is_sent and warn:
            if self.folder:
                label = f"{what} are not all sent yet; send them with: "
                self._warn("left", label, typed("send", self.folder))
            else:
                self._warn("left", f"{what} is not sent")
        return is_sent

    def _release(self, *, is_sent: bool) -> None:
        if self._mark is not None:
            self._mark.release(is_sent=is_sent)
            self._mark = None
        elif self.folder is not None and not is_sent:
            mark(self.folder, self._destination(self.folder))

    def _destination(self, folder: Path) -> Destination:
        return Destination.of(self.uri, self.mirror.experiment, folder.resolve().parent.parent)

    def register(self, key: str, folder: Path, name: str, student: str = "") -> Registered:
        """Log a model that MLflow saved into a folder, and register it; waits for the server.

        Args:
            key: Key of the model's run.
            folder: Folder of the model, with ``MLmodel``.
            name: Name of the registered model; created if missing.
            student: Digest of the student's files: one that is registered under this name is not added again.
                Empty: unknown.

        Raises:
            InputError: The server refuses the model, or has no such run.
        """
        self.flush()
        run_id = self.mirror.run_id(key)
        if run_id is None:
            raise InputError(f"MLflow at {without_password(self.uri)}: has no run of the key {key}")
        known = self.registered_before(name, student) if student else None
        client, experiment_id = self.mirror.connect()
        return known or register(client, self.uri, experiment_id, run_id, folder, name, student)

    def registered_before(self, name: str, student: str) -> Registered | None:
        """The entry of a student in the registry, of the newest version; None without one.

        Raises:
            InputError: The server has no registry, refuses the name, or does not answer.
        """
        return registered_before(self.mirror.connect()[0], self.uri, name, student)

    def _run(self) -> None:
        n_failures = 0
        while not self._is_closed:
            self._news.clear()
            self._hurry.clear()
            with self._state:
                asked = self._asked
            begun = time.monotonic()
            try:
                self.mirror.sync(self._project())
            except Exception as error:  # tracking must never end a run
                n_failures += 1
                self._fail(error)
                self._hurry.wait(min(_LONGEST_WAIT, 0.5 * 2 ** min(n_failures, 6)))  # no float is 2**1024
                continue
            n_failures = 0
            with self._state:
                self._done = asked
                self._state.notify_all()
            pause = max(_LEAST_PAUSE, _PAUSE_SHARE * (time.monotonic() - begun))
            self._hurry.wait(min(_SECONDS_BETWEEN_LOOKS, pause))
            self._news.wait(_SECONDS_BETWEEN_LOOKS)

    def _fail(self, error: Exception) -> None:
        self.failure = reason_of(error)
        if isinstance(error, UnreachableError):
            self._warn("away", f"is unreachable or failing; will retry: {error}")
        else:
            self._warn("record", f"the record cannot be read; will retry: {reason_of(error)}")

    def _reject(self, message: str) -> None:
        self._warn("rejected", message)

    def _warn(self, kind: str, message: str, command: str = "") -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warning = f"Warning: MLflow at {without_password(self.uri)}: {message}"
            console.print(with_command(warning, command, console) if command else warning, soft_wrap=True)


@contextmanager
def one_run(uri: str, experiment: str, run: Run) -> Iterator[Tracking]:
    """Track a run without a record on disk for a block; the run ends with the block.

    Args:
        uri: From `tracking_uri`.
        experiment: Name of the experiment; created if missing.
        run: The run; it becomes FINISHED, FAILED if the block raises, KILLED if it is interrupted.

    Raises:
        InputError: As in `Tracking`.
    """
    status: RunStatus = "RUNNING"
    with Tracking(uri, experiment, lambda: Projection((replace(run, status=status),))) as tracking:
        try:
            yield tracking
        except BaseException as error:
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            raise
        status = "FINISHED"


@dataclass(frozen=True)
class Sent:
    """Result of sending the record of a folder.

    Attributes:
        changed: Number of runs to which something was sent.
        rejected: Number of parts of runs that the server will never take: they are dropped.
        experiment_id: MLflow's id of the experiment.
        place: The server or database, without a password.
    """

    changed: int
    rejected: int = 0
    experiment_id: str | None = None
    place: str = ""

    def __str__(self) -> str:
        rejected = f", {self.rejected:,} of their parts rejected and dropped" if self.rejected else ""
        return f"{self.changed:,} run{'' if self.changed == 1 else 's'} sent{rejected}"


def send(uri: str, experiment: str, project: Project, folder: Path, seconds: float = CLOSE_SECONDS) -> Sent:
    """Send the runs of a folder to MLflow.

    Args:
        uri: Server or database.
        experiment: Name of the experiment.
        project: Computes the runs from the record.
        folder: The folder of the record.
        seconds: Longest wait for the server.

    Raises:
        InputError: Another process sends them, or the server does not answer or take them in time.
    """
    tracking = Tracking(uri, experiment, project, folder)
    if not tracking.close(seconds, warn=False):
        server = without_password(uri)
        reason = tracking.failure or f"it takes longer than {seconds:.0f} s"
        raise InputError(f"{folder}: could not be sent to MLflow at {server}: {reason}")
    mirror = tracking.mirror
    return Sent(mirror.n_changed, mirror.n_rejected, tracking.experiment_id, without_password(uri))
