from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulation import space_of

from tune.driver.scheduler import StudyScheduler
from tune.driver.stoppers import Breakdown, TimeBudget
from tune.study.study import Study
from tune.worker.trial_report import TrialReport

DIED = """Failure # 1 (occurred at 2026-01-01_00-00-00)
The actor died unexpectedly before finishing this task.
	pid: 14
	ip: 10.0.0.7
"""


class Search:
    """A session of two slots, to which trials do what a test says."""

    def __init__(self, folder: Path) -> None:
        self._study = Study(None, "max")
        self.breakdown = Breakdown(lambda: 2)
        self._scheduler = StudyScheduler(space_of("none", 99), self._study, "o", self.breakdown)
        self._account = folder / "error.txt"

    def _number(self) -> int:
        return self._study.add({}).number

    def die(self, number: int | None = None) -> None:
        self._account.write_text(DIED)
        config = {"number": self._number() if number is None else number}
        ray_trial: Any = SimpleNamespace(config=config, error_file=str(self._account))
        self._scheduler.on_trial_error(None, ray_trial)

    def send(self, failure: str = "", traceback: str = "", *, is_memory_fault: bool = False) -> None:
        metrics = {} if failure else {"pairs_seen": 100.0, "o": 0.5}
        told = TrialReport(
            number=self._number(),
            metrics=metrics,
            failure=failure,
            is_memory_fault=is_memory_fault,
            traceback=traceback,
            seconds=1.0,
            started=0.0,
            ended=1.0,
            machine="here",
        )
        ray_trial: Any = SimpleNamespace(config={})
        self._scheduler.on_trial_result(None, ray_trial, told.to_result())


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


def test_a_session_aborts_after_more_losses_than_one_cause(search: Search) -> None:
    for _ in range(3):
        search.die()
        search.send("RuntimeError: a bug", "its traceback")
        assert search.breakdown.stop_all() == (search._study[-1].number == 5)
    assert str(search.breakdown) == ("6 trials died or failed on 10.0.0.7, here without a report in between")


def test_a_trial_that_dies_again_and_again_counts_once(search: Search) -> None:
    search.die()
    for _ in range(9):
        search.die(0)
    assert not search.breakdown.stop_all()


def test_any_report_says_that_trials_are_trained(search: Search) -> None:
    for _ in range(5):
        search.die()
    search.send()
    for _ in range(5):
        search.die()
    assert not search.breakdown.stop_all()


def test_failures_of_trials_are_no_breakdown(search: Search) -> None:
    for _ in range(9):
        search.send("diverged: loss is nan at step 2")
    assert not search.breakdown.stop_all()


def test_a_time_budget_knows_that_it_ended_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    budget, endless = TimeBudget(10.0), TimeBudget(math.inf)
    assert (budget.left(), endless.left()) == (10.0, math.inf)
    now = 109.0
    assert not budget.stop_all()
    now = 111.0
    assert not budget.is_over, "nobody was stopped by it yet"
    assert budget.stop_all()
    assert budget.is_over
    assert budget.left() == 0.0
    assert not endless.stop_all()
