"""Records that wait to be sent, in a file, so that neither a kill nor a server that is away loses one.

A record is a line of JSON; the first line says where they belong. What was taken and done is forgotten when
nothing is left: the file is then cut to that line. After a kill some records are taken a second time; whoever
sends them must bear that.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from themo.errors import InputError
from themo.process.output import typed
from themo.tracking.uri import is_same_place, sqlite_file, without_password


class OutboxInUseError(InputError):
    """Another process has the file open."""


def left_behind(folder: Path) -> list[Path]:
    """The files of a folder that hold records and that no process sends."""
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        with suppress(OSError), path.open("rb") as file:
            if sum(1 for _ in file) > 1:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # refused while another has it
                found.append(path)
    return found


def refuse_elsewhere(path: Path, known: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    """Refuse the records of a file where others are to be sent than those that they belong to.

    Args:
        path: The file.
        known: Its address.
        asked: Where its records would go.

    Raises:
        InputError: They belong elsewhere.
    """
    was, now = (str(address.get("uri")) for address in (known, asked))
    is_there = is_same_place(was, now) or _is_moved(was, now)
    if not is_there or known.get("experiment") != asked.get("experiment"):
        raise InputError(
            f"{path}: holds records for {without_password(was)}, experiment {known.get('experiment')!r}, "
            f"asked for is {without_password(now)}, experiment {asked.get('experiment')!r}: "
            f"ask for the former, or send them first: {typed('send', path)}; if that server has moved, "
            "write its new uri into the file's first line"
        )


def _is_moved(was: str, now: str) -> bool:
    """Whether a database went with its folder: nothing can be sent to where it was."""
    file = sqlite_file(was)
    return file is not None and sqlite_file(now) is not None and not file.exists()


class Outbox:
    """A first-in-first-out queue of JSON objects in a file, of one process at a time.

    Args:
        path: Created if missing; records in it are sent first. Its folder is made too.
        address: Where the records belong, for a new file; one that is there has its own. None: it must be
            there.

    Raises:
        OutboxInUseError: Another process has it open.
        InputError: It cannot be opened to be written, is no outbox, or holds what is no record; it stays as
            it is.
        OSError: The disk is full.
    """

    def __init__(self, path: Path, address: dict[str, str] | None) -> None:
        self.path = path
        self._changed = threading.Condition()
        self._closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _opened(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(self._file.fileno()).st_nlink:  # who had it removed it before we had the lock
                raise OSError
        except OSError:
            self._file.close()
            raise OutboxInUseError(f"{path}: another process sends what it holds") from None
        self._end = 0
        try:
            lines = self._read(_line_of(address) if address else b"")
        except (InputError, OSError):
            self._file.close()
            raise
        self.address: dict[str, str] = json.loads(lines[0])
        self._start = self._taken = len(lines[0]) + 1
        self._end = sum(len(line) + 1 for line in lines)
        self._waiting = len(lines) - 1

    def __len__(self) -> int:
        """Records not yet done."""
        with self._changed:
            return self._waiting

    def append(self, record: dict[str, Any]) -> None:
        """Add a record.

        Raises:
            OSError: The disk is full; what was there stays as it was.
        """
        line = _line_of(record)
        with self._changed:
            self._end += self._write(line)
            self._waiting += 1
            self._changed.notify_all()

    def next(self, seconds: float | None = None) -> dict[str, Any] | None:
        """The oldest record that is not done, waited for; None when time is up or the outbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting > 0 or self._closed, seconds)
            if self._waiting == 0 or self._closed:
                return None
            record: dict[str, Any] = json.loads(self._line())
            return record

    def done(self) -> None:
        """Forget the oldest record."""
        with self._changed:
            self._taken += len(self._line())
            self._waiting -= 1
            if self._waiting == 0:
                os.ftruncate(self._file.fileno(), self._start)
                self._taken = self._end = self._start
            self._changed.notify_all()

    def wait_until_empty(self, seconds: float) -> bool:
        """Whether all records were done in that time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting == 0, seconds)

    def readdress(self, address: dict[str, str]) -> None:
        """Write another address above the records; a kill leaves the old file or the new one.

        Raises:
            OSError: The disk is full; all stays as it was.
        """
        line, path = _line_of(address), self.path.with_name(f".{self.path.name}.new")
        with self._changed:
            self._file.seek(self._taken)
            records = self._file.read()
            path.unlink(missing_ok=True)  # of a kill
            file = _opened(path)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody is to come between
                with path.open("wb") as writer:
                    writer.write(line + records)
                    writer.flush()
                    os.fsync(writer.fileno())
                path.replace(self.path)
            except OSError:
                file.close()
                path.unlink(missing_ok=True)
                raise
            self._file.close()
            self._file, self.address = file, address
            self._start = self._taken = len(line)
            self._end = len(line) + len(records)

    def close(self) -> None:
        """Give the file free, and remove it where nothing is left in it."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            if self._waiting == 0:
                self.path.unlink(missing_ok=True)
            self._file.close()
            self._changed.notify_all()

    def _write(self, line: bytes) -> int:
        """A whole line at the end, or nothing of it."""
        try:
            if os.write(self._file.fileno(), line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        except OSError:
            os.ftruncate(self._file.fileno(), self._end)
            raise
        return len(line)

    def _line(self) -> bytes:
        self._file.seek(self._taken)
        parts: list[bytes] = []
        while not parts or (parts[-1] and not parts[-1].endswith(b"\n")):
            parts.append(self._file.readline())
        return b"".join(parts)

    def _read(self, head: bytes) -> list[bytes]:
        """The lines. A last line that a kill cut short is removed, once all before it are seen to be records.

        Args:
            head: Written where there is no line; empty: there must be one.
        """
        self._file.seek(0)
        content = self._file.read()
        *lines, torn = content.split(b"\n")
        is_new = not lines and bool(head) and head.startswith(torn)
        if not is_new and not (lines and _holds(lines[0], "uri", "experiment")):
            raise InputError(f"{self.path}, line 1: must name the uri and the experiment of its records")
        for number, line in enumerate(lines, start=1):
            if not _holds(line):
                raise InputError(f"{self.path}, line {number}: must be a record of a run")
        if torn:
            os.ftruncate(self._file.fileno(), len(content) - len(torn))
        if is_new:
            self._write(head)
            lines = [head.removesuffix(b"\n")]
        return lines


def _opened(path: Path) -> BinaryIO:
    """A file to be added to, which nobody else may read: its address may bear a password."""
    return open(path, "a+b", buffering=0, opener=partial(os.open, mode=0o600))


def _holds(line: bytes, *names: str) -> bool:
    """Whether a line is a JSON object with strings of these names."""
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and all(isinstance(entry.get(name), str) for name in names)


def _line_of(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"
