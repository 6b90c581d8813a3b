"""SIGTERM ends a command as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Have SIGTERM do what Ctrl-C would do at that moment, for a block; also as a decorator.

    Raises:
        Terminated: In place of the `KeyboardInterrupt` that came of it.
    """
    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return
    is_terminated = False

    def interrupt(_number: int, frame: FrameType | None) -> None:
        nonlocal is_terminated
        is_terminated = True
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(on_ctrl_c):  # Ray Tune's while it runs, which lets it come to an end
            on_ctrl_c(signal.SIGINT, frame)
        else:  # ignored, as in the background of a shell
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        # while Ray starts, its own handler stands there, which exits with the signal's number
        if is_terminated or (isinstance(end, SystemExit) and end.code == signal.SIGTERM):
            raise Terminated from None
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)  # None: a library's
