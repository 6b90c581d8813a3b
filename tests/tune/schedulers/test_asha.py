from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tune.schedulers.asha import Asha, is_among_best
from tune.schedulers.rungs import Rungs
from tune.study.study import Study

RUNGS = Rungs(first=100, factor=3.0)


def report(study: Study, number: int, pairs: int, value: float) -> str:
    """Enter a report and ask what becomes of the trial."""
    before = study[number].pairs_seen
    study.report(number, {"pairs_seen": pairs, "o": value}, "o")
    return Asha(RUNGS).explain(study, number, before).state


def test_the_best_third_continues():
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


def test_trials_are_judged_once_and_only_at_rungs():
    study = Study(None, "max")
    study.add({})
    study.add({})
    assert report(study, 0, 100, 0.9) == "RUNNING"
    assert report(study, 1, 90, 0.1) == "RUNNING"  # before the first rung
    assert report(study, 1, 100, 0.1) == "PRUNED"
    assert report(study, 1, 200, 0.1) == "RUNNING"  # taken up at its rung
    assert report(study, 0, 200, 0.0) == "RUNNING"  # between rungs


def test_a_trial_is_judged_by_its_best_so_far():
    study = Study(None, "max")
    study.add({})
    study.add({})
    report(study, 0, 100, 0.5)
    report(study, 1, 50, 0.6)
    assert report(study, 1, 100, 0.1) == "RUNNING"


def test_a_trial_without_a_finite_report_is_stopped_at_the_rung():
    study = Study(None, "max")
    study.add({})
    study.add({})
    assert report(study, 0, 100, math.nan) == "PRUNED"
    assert report(study, 1, 100, 0.1) == "RUNNING"
