from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.schedulers.hyperband import HyperBand, bracket_of
from tune.schedulers.rungs import Rungs
from tune.study.study import Study

RULE = HyperBand(Rungs(100, 3.0), brackets=3)


def test_brackets_get_the_shares_of_the_paper():
    # n = ceil((s_max + 1) / (s + 1) * eta^s): 9, 5 and 3 of 17
    assert Counter(bracket_of(number, 3, 3.0) for number in range(17)) == {0: 9, 1: 5, 2: 3}


@given(st.integers(1, 5), st.sampled_from([2.0, 3.0, 4.0]), st.integers(0, 300))
def test_a_bracket_is_never_far_from_its_share(brackets, factor, n_trials):
    counts = Counter(bracket_of(number, brackets, factor) for number in range(n_trials))
    cycle = Counter(bracket_of(number, brackets, factor) for number in range(5000))
    for bracket in range(brackets):
        assert abs(counts[bracket] - n_trials * cycle[bracket] / 5000) < 2


def test_each_bracket_has_its_own_rungs():
    number_of = {bracket_of(number, 3, 3.0): number for number in reversed(range(17))}
    assert [RULE.is_judged(number_of[0], pairs - 1, pairs) for pairs in (100, 300, 900)] == [True] * 3
    assert [RULE.is_judged(number_of[1], pairs - 1, pairs) for pairs in (100, 300, 900)] == [
        False,
        True,
        True,
    ]
    assert [RULE.is_judged(number_of[2], pairs - 1, pairs) for pairs in (100, 300, 900)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("bracket", [0, 1])
def test_only_trials_of_the_same_bracket_are_rivals(bracket):
    study = Study(None, "max")
    for number in range(10):
        study.add({})
        value = 0.2 if bracket_of(number, 3, 3.0) == bracket else 0.9
        study.report(number, {"pairs_seen": 300, "o": value}, "o")
    last = max(number for number in range(10) if bracket_of(number, 3, 3.0) == bracket)
    study.report(last, {"pairs_seen": 300, "o": 0.3}, "o")
    assert RULE.explain(study, last, 299).state == "RUNNING"  # best of its own, worse than all of the others
    study.report(last, {"pairs_seen": 300, "o": 0.1}, "o")
    assert RULE.explain(study, last, 299).state == "PRUNED"
