"""File locks between processes; the system releases them when the process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from themo.process.progress import console

if TYPE_CHECKING:
    from filelock import FileLock

SECONDS_OF_SILENCE = 2.0
"""Seconds of waiting for a lock before a message is printed."""


@contextmanager
def alone(lock: Path, busy: str) -> Iterator[None]:
    """Hold a lock for a block; waits for a process that holds it.

    Args:
        lock: File of the lock.
        busy: Printed before a long wait, such as ``"x.zip: another process is fetching it; waiting"``.

    Raises:
        OSError: The file cannot be written.
    """
    held = try_lock(lock, SECONDS_OF_SILENCE)
    if held is None:
        from filelock import FileLock

        console.print(busy)
        held = FileLock(lock)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def try_lock(lock: Path, seconds: float = 0.0) -> FileLock | None:
    """Acquire and return a lock; None if another process still holds it after `seconds`.

    Raises:
        OSError: The file cannot be written.
    """
    from filelock import FileLock, Timeout  # with asyncio, for those that hold locks alone

    held = FileLock(lock, thread_local=False)  # any thread may release it
    try:
        held.acquire(timeout=seconds)
    except Timeout:
        return None
    return held


def open_locked(file: Path) -> int | None:
    """Open and lock a file that has a content of its own, or whose lock passes to another program.

    Args:
        file: The file; created if missing.

    Returns:
        The descriptor, which holds the lock until it is closed; None if another process holds the lock.

    Raises:
        OSError: The file cannot be written.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:  # else the process that held it has removed it since
            return descriptor
        os.close(descriptor)


def is_locked(lock: Path) -> bool:
    """Return whether a process holds a lock; writes nothing, and several processes may ask at once."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
