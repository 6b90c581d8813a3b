"""Runs of train, test and searches in MLflow, sent by a thread of their own.

SQLite beside the logs by default, a server where ``MLFLOW_TRACKING_URI`` names one. Nothing here is global,
and no caller ever waits for the server: records go into a file (`themo.tracking.outbox`), and from
there to MLflow (`themo.tracking.delivery`) in its order, as long as it may take.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from themo.errors import InputError, reason_of
from themo.files.disk_space import IMPATIENT, Patience
from themo.process.output import typed
from themo.process.progress import console
from themo.tracking.aside import SUFFIX, Aside
from themo.tracking.delivery import AwayError, Delivery, RefusedError
from themo.tracking.outbox import Outbox, refuse_elsewhere
from themo.tracking.registry import Registered
from themo.tracking.run_log import RunLog, Status, loggable, now, plain
from themo.tracking.uri import check_reachable, without_password

CLOSE_SECONDS = 30.0
"""A command that is done waits so long for a server to take what is left."""

_PATIENT_SECONDS = 2.0
"""A command waits so long without a word."""

_LONGEST_WAIT = 20.0
_TRIES = 10
"""Of a record, over two minutes, before it lets the others pass."""


class Tracking:
    """One MLflow experiment, and the thread that talks to it.

    Use as a context manager, so that everything is sent before the program ends. Records that the
    server did not accept stay in the outbox: the next program that opens it, or the command ``send``, sends
    them.

    Args:
        uri: From `tracking_uri`.
        experiment: Made if there is none of this name.
        outbox: File of what is not sent yet; that of an interrupted search is sent first. One that is empty
            takes this address.
        must_answer: Refuse a server that does not answer now; else it may come later.
        patience: Whether to wait for space on a full disk. Without it, records are lost, with a
            warning, and the run continues.

    Raises:
        InputError: The server or database cannot be reached, or refuses the experiment; another process uses
            the outbox, or it holds records for another address.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        outbox: Path,
        *,
        must_answer: bool = True,
        patience: Patience = IMPATIENT,
    ) -> None:
        self.uri = uri
        self.experiment = experiment
        self._delivery = Delivery(uri, experiment, outbox.resolve().parent)
        self._patience = patience
        self._outbox = patience(lambda: _opened(outbox, {"uri": uri, "experiment": experiment}))
        try:
            self._aside = Aside(self._outbox)
            if must_answer:
                check_reachable(uri)
                self._delivery.connect()
        except BaseException:
            self._outbox.close()
            raise
        self._warned: set[str] = set()
        self._n_refused = self._n_aside = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send, name="mlflow", daemon=True)
        self._thread.start()

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        name: str,
        params: Mapping[str, object],
        artifact: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        parent: RunLog | None = None,
        key: str | None = None,
    ) -> RunLog:
        """Begin a run, or take up an old one.

        Args:
            name: As the table of runs shows it.
            params: Columns of the comparison view; other settings belong into `artifact`.
            artifact: All settings, kept as ``settings.json``.
            tags: Further tags.
            parent: The run of which this is a child.
            key: Identifies the run: an existing run with this key is continued. None: no key.
        """
        run = RunLog(self, key or uuid.uuid4().hex)
        run.log(
            do="begin",
            name=name,
            params={name: plain(value) for name, value in params.items()},
            settings=artifact,
            tags=dict(tags or {}),
            parent=parent.key if parent else None,
            at=now(),
        )
        return run

    def join(
        self,
        name: str,
        params: Mapping[str, object],
        *,
        key: str,
        tags: Mapping[str, str],
        artifact: Mapping[str, Any] | None = None,
    ) -> RunLog:
        """Add to a run of another command, which keeps its state; a line names a run that MLflow lacks.

        Arguments are those of `start`, for a run to be made where MLflow has none of this key.
        """
        run = RunLog(self, key)
        run.log(
            do="join",
            name=name,
            params={name: plain(value) for name, value in params.items()},
            settings=artifact,
            tags=dict(tags),
            at=now(),
        )
        return run

    def settle(
        self,
        name: str,
        params: Mapping[str, object],
        *,
        key: str,
        tags: Mapping[str, str],
        parent: RunLog,
        metrics: Mapping[str, float],
        step: int,
        status: Status,
    ) -> None:
        """See to it that a run that ended before is there, with its last report and its end.

        Arguments are those of `start`, `RunLog.report` and `RunLog.finish`.
        """
        RunLog(self, key).log(
            do="settle",
            name=name,
            params={name: plain(value) for name, value in params.items()},
            tags=dict(tags),
            parent=parent.key,
            metrics=loggable(metrics),
            step=step,
            status=status,
            at=now(),
        )

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment; None before the server has answered once."""
        return self._delivery.experiment_id

    @contextmanager
    def run(
        self,
        name: str,
        params: Mapping[str, object],
        artifact: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Iterator[RunLog]:
        """A run for the length of a block: FINISHED, FAILED if it raises, KILLED if it is interrupted.

        Arguments are those of `start`.
        """
        run = self.start(name, params, artifact, tags, key=key)
        try:
            yield run
        except BaseException as error:
            run.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        run.finish("FINISHED")

    def register(self, run: RunLog, folder: Path, name: str, student: str = "") -> Registered:
        """Log a model that MLflow saved into a folder, and register it; waits for the server.

        Args:
            run: The model's run.
            folder: With ``MLmodel``.
            name: Of the registered model; made if there is none.
            student: Digest of the student's files: one that is registered under this name is not added again.
                Empty: unknown.

        Raises:
            InputError: The server refuses it.
        """
        self.flush()
        return self._delivery.register(run.key, folder, name, student)

    def registered_before(self, name: str, student: str) -> Registered | None:
        """The entry of a student in the registry, of the newest version; None without one.

        Raises:
            InputError: The server has no registry, refuses the name, or does not answer.
        """
        return self._delivery.registered_before(name, student)

    def flush(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Wait until all that was logged so far is sent; false where that took too long."""
        return self._outbox.wait_until_empty(seconds)

    def close(self, seconds: float = CLOSE_SECONDS, *, warn: bool = True) -> None:
        """Send what is left, wait for it so long, and end the thread."""
        if self._ending.is_set():
            return
        sent = self.flush(min(seconds, _PATIENT_SECONDS))
        if not sent and seconds > _PATIENT_SECONDS:
            if warn:
                console.print(
                    f"Sending {len(self._outbox):,} records to MLflow at {without_password(self.uri)}, "
                    f"for at most {seconds:.0f} s"
                )
            sent = self.flush(seconds - _PATIENT_SECONDS)
        if not sent and warn:
            self._warn(
                "left",
                f"{len(self._outbox):,} records are not sent yet; send them with: "
                f"{typed('send', self._outbox.path)}",
            )
        self._ending.set()
        self._outbox.close()  # wakes the thread; one that waits for the server is a daemon

    def run_id(self, run: RunLog) -> str | None:
        """MLflow's id of a run, once its beginning is sent; see `flush`."""
        return self._delivery.run_id(run.key)

    def relative(self, path: Path) -> str:
        """A file's path as records hold it: relative to the outbox, which may move with the logs."""
        return os.path.relpath(path.resolve(), self._outbox.path.resolve().parent)

    def put(self, record: dict[str, Any]) -> None:
        """Add a record; one that does not fit on the disk is lost, with a warning."""
        try:
            self._patience(lambda: self._outbox.append(record))
        except OSError as error:  # tracking must never end a run
            message = f"{self._outbox.path}: cannot be written: {error.strerror}; reports are left out"
            self._warn("full", message)

    def _send(self) -> None:
        tries = 0
        while (record := self._outbox.next()) is not None:
            if self._aside.was_sent():
                self._delivery.forget_children()  # some were made elsewhere
            try:
                if self._aside.is_for(record):
                    self._put_aside(record)
                else:
                    self._say(self._delivery.carry_out(record))
            except RefusedError as error:
                self._refused(str(error))
            except AwayError as error:
                tries += 1
                if tries < _TRIES or not self._set_aside(record, str(error)):
                    self._warn("away", f"is away, reports wait in {self._outbox.path}: {error}")
                    self._ending.wait(min(_LONGEST_WAIT, 0.5 * 2 ** min(tries, 6)))  # no float is 2**1024
                    continue
            except Exception as error:  # tracking must never end a run, whatever a server answers
                self._refused(reason_of(error))
            tries = 0
            if not self._ending.is_set():
                self._outbox.done()

    def _refused(self, reason: str) -> None:
        self._n_refused += 1
        self._warn("refused", f"refuses a record, which is dropped: {reason}")

    def _set_aside(self, record: Mapping[str, Any], reason: str) -> bool:
        """Keep a record elsewhere, at which a server that is well fails each time: all others would wait."""
        if self._outbox.path.name.endswith(SUFFIX) or not self.uri.startswith("http"):
            return False
        if not self._delivery.can_read():
            return False
        try:
            self._put_aside(record, f"fails at a record: {reason}")
        except AwayError:
            return False
        return True

    def _put_aside(self, record: Mapping[str, Any], why: str = "failed at a record") -> None:
        """Into the file of those that wait until somebody sends it.

        Raises:
            AwayError: It cannot be written now.
        """
        try:
            self._aside.append(record)
        except (OSError, InputError) as error:
            raise AwayError(reason_of(error)) from error
        self._n_aside += 1
        path = self._aside.path
        self._warn(
            "aside", f"{why}; it and what its run logs later wait in {path} for: {typed('send', path)}"
        )

    def _say(self, notice: str | None) -> None:
        if notice:
            console.print(notice, soft_wrap=True)

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            console.print(f"Warning: MLflow at {without_password(self.uri)}: {message}")


@dataclass(frozen=True)
class Sent:
    """What became of the records of a file.

    Attributes:
        taken: MLflow has them.
        refused: It will never take them: they are dropped.
        aside: It fails at them for now: they wait in another file.
    """

    taken: int
    refused: int = 0
    aside: int = 0

    def __str__(self) -> str:
        refused = f", {self.refused:,} refused and dropped" if self.refused else ""
        aside = f", {self.aside:,} set aside" if self.aside else ""
        return f"{self.taken:,} records sent{refused}{aside}"


def send(outbox: Path, seconds: float = CLOSE_SECONDS) -> Sent:
    """Send what a command could not.

    Args:
        outbox: The file that was left.
        seconds: To wait for the server.

    Raises:
        InputError: The file is none, is in use, or the server does not answer.
    """
    if not outbox.is_file():
        raise InputError(f"{outbox}: no such file")
    if not outbox.stat().st_size:  # a kill left it so
        return Sent(0)
    box = Outbox(outbox, None)
    n_records, address = len(box), box.address
    box.close()
    if not n_records:
        return Sent(0)
    tracking = Tracking(address["uri"], address["experiment"], outbox)
    sent = tracking.flush(seconds)
    left = len(tracking._outbox)
    tracking.close(0.0, warn=False)
    if not sent:
        raise InputError(
            f"{outbox}: {left:,} of {n_records:,} records could not be sent to "
            f"{without_password(address['uri'])}"
        )
    refused, aside = tracking._n_refused, tracking._n_aside
    return Sent(n_records - refused - aside, refused, aside)


def outbox_path(logs_dir: Path, name: str | None = None) -> Path:
    """File of what is not sent yet: of searches and training by their own name, else by time and process."""
    name = name or f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{os.getpid()}"
    return logs_dir.resolve() / "outbox" / f"{name}.jsonl"


def _opened(path: Path, address: dict[str, str]) -> Outbox:
    box = Outbox(path, address)
    try:
        if len(box):
            refuse_elsewhere(path, box.address, address)
        if box.address != address:  # nothing waits; or another password, or a database moved with its folder
            box.readdress(address)
    except BaseException:
        box.close()
        raise
    return box
