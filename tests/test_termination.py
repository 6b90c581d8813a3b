"""SIGTERM, sent to this process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from themo.termination import Terminated, ended_by_sigterm


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGINT, before[0])
    assert signal.getsignal(signal.SIGTERM) is before[1]


@pytest.mark.parametrize("on_ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_it_ends_a_block(on_ctrl_c: Any) -> None:
    signal.signal(signal.SIGINT, on_ctrl_c)
    with pytest.raises(Terminated), ended_by_sigterm():
        signal.raise_signal(signal.SIGTERM)


def test_who_takes_note_of_ctrl_c_takes_note_of_it_and_ends_in_its_own_time() -> None:
    noted: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        noted.append(number)

    signal.signal(signal.SIGINT, note)

    @ended_by_sigterm()
    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        assert noted == [signal.SIGINT]
        raise KeyboardInterrupt

    with pytest.raises(Terminated):
        work()


def test_an_exit_by_rays_own_handler_is_one_by_sigterm() -> None:
    with pytest.raises(Terminated), ended_by_sigterm():
        sys.exit(signal.SIGTERM)


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(3)])
def test_other_ends_are_left_alone(end: BaseException) -> None:
    with pytest.raises(type(end)) as caught, ended_by_sigterm():
        raise end
    assert caught.value is end
