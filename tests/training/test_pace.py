"""Speed and training time of a run, with a clock that the test moves."""

from __future__ import annotations

import pytest

from themo.checkpoints.resumption import Progress
from themo.training.pace import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that `time.monotonic` returns, as a list of one number."""
    now = [100.0]
    monkeypatch.setattr("themo.training.pace.time.monotonic", lambda: now[0])
    return now


def test_only_the_time_between_restart_and_report_counts(clock: list[float]) -> None:
    pace = Pace(Progress(corpus=""))
    clock[0] += 2.0
    assert (pace.measure(50), pace.seconds) == (25.0, 2.0)
    clock[0] += 1000.0  # validation and saving
    pace.restart(50)
    clock[0] += 4.0
    assert (pace.measure(450), pace.seconds) == (100.0, 6.0)


@pytest.mark.parametrize(
    ("report", "before"), [({"training_seconds": 7.0}, 7.0), ({}, 9.0)], ids=["measured", "older version"]
)
def test_a_resumed_run_continues_its_training_time(
    clock: list[float], report: dict[str, float], before: float
) -> None:
    pace = Pace(Progress(corpus="", pairs_seen=60, seconds=9.0, reports=[report]))
    clock[0] += 2.0
    assert (pace.measure(100), pace.seconds) == (20.0, before + 2.0)
