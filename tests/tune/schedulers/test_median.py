from __future__ import annotations

import math

import pytest

from tune.schedulers.median import Median, running_average
from tune.schedulers.rungs import Interval
from tune.study.study import Study

RULE = Median(Interval(100))


def study_of(*curves: list[float], mode: str = "max") -> Study:
    study = Study(None, mode)  # type: ignore[arg-type]
    for number, curve in enumerate(curves):
        study.add({})
        for step, value in enumerate(curve, start=1):
            study.report(number, {"pairs_seen": 50 * step, "o": value}, "o")
    return study


def test_a_running_average_is_of_the_reports_up_to_there():
    trial = study_of([0.1, 0.3, 0.8, math.nan])[0]
    assert running_average(trial, 100) == pytest.approx(0.2)
    assert running_average(trial, 150) == pytest.approx(0.4)
    assert running_average(trial, 200) is None  # it has not come so far


@pytest.mark.parametrize(
    ("best", "state"), [(0.3125, "RUNNING"), (0.25, "RUNNING"), (0.1875, "PRUNED")]
)  # the others' averages at 100 pairs: 0.125, 0.25, 0.5
def test_a_trial_below_the_median_is_stopped(best, state):
    others = [[0.125, 0.125, 0.9], [0.125, 0.375], [0.5, 0.5], [0.9]]  # the last has not come so far
    assert RULE.explain(study_of(*others, [best, 0.0]), 4, 50).state == state
    negative = [[-value for value in curve] for curve in others]
    assert RULE.explain(study_of(*negative, [-best, 0.0], mode="min"), 4, 50).state == state


def test_within_the_grace_and_with_two_others_nobody_is_stopped():
    assert RULE.explain(study_of([0.9], [0.9], [0.9], [0.1]), 3, 0).state == "RUNNING"
    assert RULE.explain(study_of([0.9, 0.9], [0.9, 0.9], [0.1, 0.1]), 2, 50).state == "RUNNING"
    assert RULE.explain(study_of([0.9, 0.9], [0.9, 0.9], [0.9, 0.9], [0.1, 0.1]), 3, 50).state == "PRUNED"


def test_the_mean_of_equal_values_is_no_greater_than_they_are():
    value = 0.6652270133903024  # (value + value + value) / 3 rounds upwards
    assert RULE.explain(study_of(*[[value, value, value, value]] * 4), 3, 150).state == "RUNNING"
