"""SIGTERM, sent to this process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from themo.process.signals import Terminated, ended_by_signals, sparing_children


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)
    on_hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGHUP, on_hangup)
    assert signal.getsignal(signal.SIGTERM) is before[1]


@pytest.mark.parametrize("on_ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_block(on_ctrl_c: Any, number: int, code: int) -> None:
    signal.signal(signal.SIGINT, on_ctrl_c)
    with pytest.raises(Terminated) as caught, ended_by_signals():
        signal.raise_signal(number)
    assert caught.value.exit_code == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_a_finalizer_is_not_lost(number: int) -> None:
    class Left:
        def __del__(self) -> None:
            signal.raise_signal(number)

    @ended_by_signals()
    def work() -> None:
        left = Left()
        del left
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value, Terminated) == (number != signal.SIGINT)


def test_sigterm_is_not_lost_while_ray_starts() -> None:
    """Ray's handler is installed then, and the exception of its exit may be dropped too."""

    class Left:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    @ended_by_signals()
    def work() -> None:
        ours = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        left = Left()
        del left
        signal.signal(signal.SIGTERM, ours)
        time.sleep(60)

    with pytest.raises(Terminated) as caught:
        work()
    assert caught.value.exit_code == 143


def test_other_errors_of_finalizers_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)

    class Faulty:
        def __del__(self) -> None:
            raise ValueError

    with ended_by_signals():
        faulty = Faulty()
        del faulty
    assert [each.exc_type for each in reported] == [ValueError]
    assert sys.unraisablehook == reported.append


def test_a_hangup_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with ended_by_signals():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_hangup_acts_once() -> None:
    """The kernel sends one to the foreground job, and then the shell does."""
    cleaned: list[bool] = []

    @ended_by_signals()
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGHUP)
            cleaned.append(True)

    with pytest.raises(Terminated):
        work()
    assert cleaned
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_hangup_spares_the_children_and_is_not_lost() -> None:
    show = [sys.executable, "-c", "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"]
    masks: list[str] = []

    @ended_by_signals()
    def work() -> None:
        with sparing_children():
            masks.append(subprocess.run(show, capture_output=True, text=True, check=True).stdout)
            signal.raise_signal(signal.SIGHUP)
            masks.append("the block has not been left")

    with pytest.raises(Terminated):
        work()
    assert "SIGHUP" in masks[0]
    assert len(masks) == 2


def test_a_program_that_handles_ctrl_c_ends_in_its_own_time() -> None:
    noted: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        noted.append(number)

    signal.signal(signal.SIGINT, note)

    @ended_by_signals()
    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        assert noted == [signal.SIGINT]
        raise KeyboardInterrupt

    with pytest.raises(Terminated):
        work()


def test_an_exit_by_rays_own_handler_is_one_by_sigterm() -> None:
    with pytest.raises(Terminated), ended_by_signals():
        sys.exit(signal.SIGTERM)


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(3)])
def test_other_ends_are_left_alone(end: BaseException) -> None:
    with pytest.raises(type(end)) as caught, ended_by_signals():
        raise end
    assert caught.value is end
