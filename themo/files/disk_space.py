"""Retrying writes on a full disk until space is free."""

from __future__ import annotations

import errno
import io
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from safetensors import SafetensorError

from themo.process.progress import console

T = TypeVar("T")

SECONDS_BETWEEN_TRIES = 1.0
SECONDS_BETWEEN_WARNINGS = 60.0

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_IN_WORDS = tuple(os.strerror(number) for number in _FULL)


def is_full(error: Exception) -> bool:
    """Whether an error means a full disk or an exhausted quota."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    if isinstance(error, shutil.Error | SafetensorError):  # these errors give the reason only as text
        return any(words in str(error) for words in _FULL_IN_WORDS)
    return False


def warn_of_waiting(for_what: str) -> None:
    """Print on this process's console that it waits."""
    console.print(f"Warning: waiting for {for_what}")


class Patience:
    """Retries writes on a full disk, with repeated warnings, until it is interrupted.

    After an interruption every further write is tried once.

    Args:
        is_over: Never retry.
        tell: Called repeatedly with the thing waited for.
    """

    def __init__(self, *, is_over: bool = False, tell: Callable[[str], None] = warn_of_waiting) -> None:
        self._is_over = is_over
        self._tell = tell

    def __call__(self, write: Callable[[], T]) -> T:
        """Call an atomic write, and retry it while the disk is full.

        Raises:
            Exception: The write failed for another reason, or retrying is over.
            KeyboardInterrupt: Interrupted while waiting.
        """
        warned = -math.inf
        while True:
            try:
                return write()
            except Exception as error:
                if self._is_over or not is_full(error):
                    raise
                if time.monotonic() - warned >= SECONDS_BETWEEN_WARNINGS:
                    warned = time.monotonic()
                    self._tell(f"space on a full disk: {error}")
            try:
                with _ended_by_ctrl_c():
                    time.sleep(SECONDS_BETWEEN_TRIES)
            except KeyboardInterrupt:
                self._is_over = True
                raise


IMPATIENT = Patience(is_over=True)


class LossyFile(io.FileIO):
    """A log file that drops text on a full disk instead of raising."""

    def write(self, data: Any, /) -> int:
        """Write, or drop the data on a full disk."""
        with suppress(OSError):
            super().write(data)
        return len(data)


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise here: Ray Tune, while it runs, only records the first one."""
    is_ours = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if not is_ours or not callable(before):  # a command that ignores SIGINT
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
