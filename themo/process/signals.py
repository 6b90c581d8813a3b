"""Handling of SIGTERM and SIGHUP (a closed terminal) like Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_REPEAT_SECONDS = 0.05


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP was received.

    Attributes:
        number: Number of the signal.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.number = number

    @property
    def exit_code(self) -> int:
        """Exit code by a shell's convention: 143 or 129."""
        return 128 + self.number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C for a block; also a decorator.

    An ignored SIGHUP stays ignored, as under `nohup`. SIGHUP acts once: kernel and shell may both send it.
    Python drops the exception of a signal that arrives in a finalizer, as after a long call of a library; the
    signal is repeated then.

    Raises:
        Terminated: Replaces the `KeyboardInterrupt` of a signal.
    """
    if threading.current_thread() is not threading.main_thread():  # other threads get no signals
        yield
        return
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and number in came:
            return
        came.append(number)
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if callable(on_ctrl_c):  # Ray Tune's handler while it runs, for an orderly end
            on_ctrl_c(signal.SIGINT, frame)
        else:  # SIGINT is ignored, as in the background of a shell
            raise KeyboardInterrupt

    is_detached = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    taken = (signal.SIGTERM,) if is_detached else (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in taken}
    report_dropped = sys.unraisablehook

    def repeat(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            number = came.pop() if came else signal.SIGINT
        elif _is_rays_exit(dropped.exc_value):
            number = signal.SIGTERM
        else:
            report_dropped(dropped)
            return
        # later, since here it would be dropped again
        main = threading.main_thread().ident
        threading.Timer(_REPEAT_SECONDS, signal.pthread_kill, (main, number)).start()

    sys.unraisablehook = repeat
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit):
            came = [signal.SIGTERM] if _is_rays_exit(end) else []
        if came:
            raise Terminated(came[0]) from None
        raise
    finally:
        sys.unraisablehook = report_dropped
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: a library's


def _is_rays_exit(error: BaseException | None) -> bool:
    """Whether an exception is that of Ray's own handler of SIGTERM, which is installed while Ray starts."""
    return isinstance(error, SystemExit) and error.code == signal.SIGTERM


@contextmanager
def sparing_children() -> Iterator[None]:
    """Start processes immune to SIGHUP for a block, since a shell sends SIGHUP to its whole job.

    This process ends them. A SIGHUP to this process is delivered at the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
