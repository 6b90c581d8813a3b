"""Mark and lock in the folder of a search or version whose runs are not all in MLflow.

The file names the server, without a password, and the experiment. It is created before anything is logged and
removed once that server has all runs: it remains after a kill, or if the server was unreachable.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from themo.errors import InputError
from themo.files.disk_space import is_full
from themo.files.locks import is_locked, open_locked
from themo.process.output import typed
from themo.tracking.uri import default_uri, is_same_place, sqlite_file, without_password

MARK_FILE = ".unsent"


@dataclass(frozen=True)
class Destination:
    """Server and experiment of a folder's runs.

    Attributes:
        uri: Server or database, without a password; None: the database beside the logs.
        experiment: Name of the experiment.
    """

    uri: str | None
    experiment: str

    @classmethod
    def of(cls, uri: str, experiment: str, logs_dir: Path) -> Destination:
        """The destination at an address that may hold a password."""
        is_default = sqlite_file(uri) is not None and is_same_place(uri, default_uri(logs_dir))
        return cls(None if is_default else without_password(uri), experiment)

    def is_same(self, other: Destination) -> bool:
        """Whether another destination is this experiment of this server."""
        return self.experiment == other.experiment and is_same_place(self.uri or "", other.uri or "")


class Mark:
    """The mark of a folder, held by this process until `release`; it keeps its content until `write`.

    Args:
        folder: The folder of the search or version.

    Attributes:
        is_new: Whether the folder had no mark.

    Raises:
        InputError: Another process holds the mark, or the mark cannot be written.
        OSError: The disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MARK_FILE
        self._descriptor = _locked(self.path)
        self.is_new = not os.fstat(self._descriptor).st_size

    def write(self, destination: Destination) -> None:
        """Write the destination of the folder's runs.

        Raises:
            OSError: The disk is full.
        """
        content = json.dumps(asdict(destination), ensure_ascii=False).encode()
        # over the old content, then shortened: a full disk leaves the old content, and a kill in between
        # leaves spaces behind the new one. No rename: the lock is the file's.
        padded = content.ljust(os.fstat(self._descriptor).st_size)
        if os.pwrite(self._descriptor, padded, 0) < len(padded):
            os.ftruncate(self._descriptor, 0)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        os.ftruncate(self._descriptor, len(content))

    def release(self, *, is_sent: bool) -> None:
        """Release the lock; remove the mark if all runs are sent."""
        if is_sent:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def mark(folder: Path, destination: Destination) -> None:
    """Mark a folder, unless it is marked: the server of its mark lacks more than this one."""
    with suppress(InputError, OSError):
        held = Mark(folder)
        try:
            if held.is_new:
                held.write(destination)
        finally:
            held.release(is_sent=False)


def marked(logs_dir: Path) -> list[Path]:
    """The marked folders below a directory of logs that no process sends."""
    marks = sorted(logs_dir.glob(f"*/*/{MARK_FILE}"))
    return [mark.parent for mark in marks if not is_locked(mark)]


def is_marked(folder: Path) -> bool:
    """Whether a folder has a mark."""
    return (folder / MARK_FILE).exists()


def is_sending(folder: Path) -> bool:
    """Whether a process holds the mark of a folder and sends its runs."""
    return is_locked(folder / MARK_FILE)


def destination_of(folder: Path) -> Destination | None:
    """The destination in a folder's mark; None without one, and if a full disk or a kill left it empty.

    Raises:
        InputError: The mark is damaged.
    """
    path = folder / MARK_FILE
    try:
        text = path.read_text(encoding="utf-8")
        if not text:
            return None
        tree = json.loads(text)
        uri, experiment = tree["uri"], tree["experiment"]
        if not isinstance(experiment, str) or not isinstance(uri, str | None):
            raise TypeError
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{path}: must name the uri and the experiment of the runs: remove it, and give the folder to "
            f"{typed('send', folder)}"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return Destination(uri, experiment)


def _locked(path: Path) -> int:
    """Open and lock a file, created if missing; return its descriptor."""
    try:
        descriptor = open_locked(path)
    except OSError as error:
        if is_full(error):
            raise
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    if descriptor is None:
        raise InputError(f"{path.parent}: another process sends its runs")
    return descriptor
