"""Questions to Ray in a process of their own, with a deadline."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from types import TracebackType
from typing import TypeVar

from themo.errors import InputError

_IMPORT_SECONDS = 60.0
"""For Ray's import, on a machine with too much to do."""

_IMPORTED_SECONDS = 8.0
"""For an answer, at least, where the import took most of the time."""

_T = TypeVar("_T")


class Inquiry:
    """A process that imports Ray and asks; it can be given up, where Ray's attempts go on for minutes.

    Args:
        script: File of a program, which prints a line when it has imported Ray.
        address: Whom it asks: the program's argument.
    """

    def __init__(self, script: str, address: str) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        # under `uv run` a client would send the working directory
        quiet = {
            "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._process = subprocess.Popen(
            # -P: neither the modules beside the script nor those of the working directory stand in for others
            [sys.executable, "-P", script, address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | quiet,
        )

    def __enter__(self) -> Inquiry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def imported(self, address: str, end: float) -> float:
        """Wait for its import of Ray; a deadline that leaves time for an answer after it."""
        try:
            self.line(time.monotonic() + _IMPORT_SECONDS)
        except TimeoutError:
            raise InputError(
                f"--address: the cluster at {address} cannot be asked: the import of Ray takes more than "
                f"{_IMPORT_SECONDS:.0f} s here"
            ) from None
        return max(end, time.monotonic() + _IMPORTED_SECONDS)

    def line(self, end: float) -> str:
        """The next that it prints, empty where it has ended; raises `TimeoutError` at a deadline."""
        printed = self._process.stdout
        return call_with_deadline(end, printed.readline).strip() if printed else ""

    def errors(self) -> str:
        """What it wrote on standard error."""
        self._errors.seek(0)
        return self._errors.read()


def call_with_deadline(end: float, call: Callable[[], _T]) -> _T:
    """What a call returns, in a thread that is given up at a deadline: resolvers and pipes know none.

    Raises:
        TimeoutError: It has not returned by then.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future.result(max(0.0, end - time.monotonic()))
