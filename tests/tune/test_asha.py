from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.asha import Rungs, is_among_best, rung_between
from tune.space import SearchSettings
from tune.study import Study

SEARCH = SearchSettings(grace_pairs=100, reduction_factor=3.0)


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
def test_rungs_stand_at_grace_times_powers_of_the_factor(before, pairs, rung):
    assert rung_between(SEARCH, before, pairs) == rung


def test_the_best_third_goes_on():
    others = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert is_among_best(0.65, others, 3, "max")  # the third of nine
    assert not is_among_best(0.55, others, 3, "max")
    assert is_among_best(0.25, others, 3, "min")
    assert not is_among_best(0.35, others, 3, "min")
    assert not is_among_best(0.65, others[1:], 3, "max")  # the third of eight


@given(st.permutations(range(12)), st.sampled_from([2.0, 3.0, 4.0]))
def test_no_more_pass_than_one_in_eta_of_the_best_so_far(values, factor):
    others: list[float] = []
    for value in values:
        passes = is_among_best(value, others, factor, "max")
        others.append(value)
        place = sorted(others, reverse=True).index(value)
        assert passes == (place == 0 or place + 1 <= len(others) // factor)


def test_the_first_passes_and_an_equal_second():
    assert is_among_best(0.0, [], 3, "max")
    assert is_among_best(0.1, [0.1], 3, "max")
    assert not is_among_best(0.09, [0.1], 3, "max")


@given(st.lists(st.floats(-1, 1), min_size=1), st.floats(-1, 1), st.floats(1.5, 5))
def test_minimising_is_maximising_the_negative(others, value, factor):
    negative = [-other for other in others]
    assert is_among_best(value, others, factor, "max") == is_among_best(-value, negative, factor, "min")


def test_a_decision_is_made_once():
    rungs = Rungs(SEARCH, "max")
    assert rungs.goes_on(0, 0, 100, 0.9)
    assert not rungs.goes_on(1, 0, 100, 0.1)
    assert rungs.goes_on(1, 0, 100, 0.1)  # a resumed trial that went on is not judged again
    assert rungs.goes_on(0, 100, 200, 0.0)  # between rungs nothing is judged


def test_a_trial_without_a_finite_report_is_stopped_at_the_rung():
    rungs = Rungs(SEARCH, "max")
    assert not rungs.goes_on(0, 0, 100, None)
    assert rungs.goes_on(1, 0, 100, 0.1)


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=10), min_size=1, max_size=6), st.floats(0, 1))
def test_rungs_rebuilt_from_the_record_decide_as_those_that_saw_the_reports(curves, value):
    study = Study(None, "max")
    seen = Rungs(SEARCH, "max")
    for curve in curves:
        trial = study.add({})
        for i, point in enumerate(curve, start=1):
            before = trial.pairs_seen
            study.report(trial.number, {"pairs_seen": 90 * i, "o": point}, "o")
            if not seen.goes_on(trial.number, before, trial.pairs_seen, trial.best("max")):
                break
    rebuilt = Rungs.of(study, SEARCH)
    for rung in (100, 300, 900):
        number = len(study)
        assert rebuilt.goes_on(number, rung - 1, rung, value) == seen.goes_on(number, rung - 1, rung, value)
