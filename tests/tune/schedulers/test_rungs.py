from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.schedulers.rungs import Rungs
from tune.study.study import Study
from tune.study.trial_record import Mode

RUNGS = Rungs(first=100, factor=3.0)


@pytest.mark.parametrize(
    ("before", "pairs", "rung"),
    [
        (0, 99, None),
        (0, 100, 100),
        (99, 120, 100),
        (100, 120, None),
        (100, 299, None),
        (200, 310, 300),
        (0, 950, 900),  # reports further apart than rungs: the highest one counts
    ],
)
def test_rungs_are_grace_times_powers_of_the_factor(before, pairs, rung):
    assert RUNGS.between(before, pairs) == rung


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20), st.floats(1.5, 4))
def test_the_rungs_of_a_record_are_those_that_its_reports_passed(steps, factor):
    rungs = Rungs(100, factor)
    study = Study(None, "max")
    study.add({})
    passed, pairs = {}, 0
    for step in steps:
        before, pairs = pairs, pairs + step
        study.report(0, {"pairs_seen": pairs, "o": 0.0}, "o")
        if (rung := rungs.between(before, pairs)) is not None:
            passed[rung] = pairs
    assert rungs.passed(study[0]) == passed


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 400), st.floats(-1, 1)), max_size=6), max_size=6),
    st.sampled_from(["max", "min"]),
)
def test_results_at_all_rungs_are_those_at_each(reports: list[list[tuple[int, float]]], mode: Mode) -> None:
    study = Study(None, mode)
    for number, of_trial in enumerate(reports):
        study.add({})
        pairs = 0
        for step, value in of_trial:
            pairs += step
            study.report(number, {"pairs_seen": pairs, "o": value}, "o")
    everywhere = RUNGS.results(study, mode)
    for rung in (100, 300, 900):
        assert everywhere.get(rung, {}) == RUNGS.results_at(rung, study, mode)
    pick = max if mode == "max" else min
    for number, best in everywhere.get(100, {}).items():
        first = min(pairs for pairs in study[number].values if pairs >= 100)
        assert best == pick(value for pairs, value in study[number].values.items() if pairs <= first)


def test_a_rung_of_seconds_has_the_best_report_so_far() -> None:
    study = Study(None, "max")
    study.add({})
    for step, value in enumerate((0.8, 0.2, 0.4), start=1):
        metrics = {"pairs_seen": 100.0 * step, "training_seconds": float(step), "o": value}
        study.report(0, metrics, "o")
    assert Rungs(2.0, 3.0, "seconds").values(study[0], "max") == {2.0: 0.8}
