"""SIGTERM, and SIGHUP of a closed terminal, end a command as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP has come.

    Attributes:
        number: Which of them.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = number

    @property
    def exit_code(self) -> int:
        """As a shell counts it: 143 or 129."""
        return 128 + self.number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP do what Ctrl-C would do at that moment, for a block; also as a decorator.

    SIGHUP stays ignored where it is, as under `nohup`. It acts once: kernel and shell may both send it.

    Raises:
        Terminated: In place of the `KeyboardInterrupt` that a signal led to.
    """
    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and number in came:
            return
        came.append(number)
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(on_ctrl_c):  # Ray Tune's while it runs, which lets it come to an end
            on_ctrl_c(signal.SIGINT, frame)
        else:  # ignored, as in the background of a shell
            raise KeyboardInterrupt

    is_detached = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    taken = (signal.SIGTERM,) if is_detached else (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in taken}
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        # while Ray starts, its own handler stands there, which exits with the signal's number
        if isinstance(end, SystemExit):
            came = [signal.SIGTERM] if end.code == signal.SIGTERM else []
        if came:
            raise Terminated(came[0]) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: a library's


@contextmanager
def sparing_children() -> Iterator[None]:
    """Start processes that SIGHUP does not reach, for a block: a shell sends it to its whole job at once.

    This process ends them. What comes for it meanwhile comes at the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
