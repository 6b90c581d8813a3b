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
    """Print a warning that this process waits."""
    console.print(f"Warning: waiting for {for_what}")


def retry(
    work: Callable[[], T],
    reason_to_wait: Callable[[Exception], str | None],
    warn: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> T:
    """Call `work`, and retry it while it fails for a temporary reason.

    Args:
        work: May be called many times; each call does all or nothing.
        reason_to_wait: Returns the temporary reason of an error, as a noun phrase; None: the error is raised.
        warn: Called with that noun phrase at the first failure and once a minute.
        pause: Sleeps for a number of seconds.
    """
    warned = -math.inf
    while True:
        try:
            return work()
        except Exception as error:
            reason = reason_to_wait(error)
            if reason is None:
                raise
        if time.monotonic() - warned >= SECONDS_BETWEEN_WARNINGS:
            warned = time.monotonic()
            warn(reason)
        pause(SECONDS_BETWEEN_TRIES)


class Patience:
    """Retries writes on a full disk, with repeated warnings, until it is interrupted.

    After an interruption every further write is tried once.

    Args:
        is_over: Never retry.
        warn: Called repeatedly with the reason of the wait.
    """

    def __init__(self, *, is_over: bool = False, warn: Callable[[str], None] = warn_of_waiting) -> None:
        self._is_over = is_over
        self._warn = warn

    def __call__(self, write: Callable[[], T]) -> T:
        """Call an atomic write, and retry it while the disk is full.

        Raises:
            Exception: The write failed for another reason, or retrying is over.
            KeyboardInterrupt: Interrupted while waiting.
        """
        return retry(write, self._reason_to_wait, self._warn, self._pause)

    def _reason_to_wait(self, error: Exception) -> str | None:
        return None if self._is_over or not is_full(error) else f"space on a full disk: {error}"

    def _pause(self, seconds: float) -> None:
        try:
            with _ended_by_ctrl_c():
                time.sleep(seconds)
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
