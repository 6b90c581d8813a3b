from __future__ import annotations

import pytest
from ended_trials import a_space, a_study
from hypothesis import given
from hypothesis import strategies as st

from tune.study.limits import are_trials_done, is_exhausted, trials_without_gain, wants_more


@pytest.mark.parametrize(
    ("values", "mode", "without"),
    [
        ([], "max", 0),
        ([0.5], "max", 0),
        ([0.5, 0.4, 0.3], "max", 2),
        ([0.5, 0.4, 0.3], "min", 0),
        ([0.5, 0.5], "max", 1),
        ([0.5, None, 0.6, None], "max", 1),
        ([None, None], "max", 2),
    ],
)
def test_trials_that_ended_after_the_best_began(values, mode, without):
    assert trials_without_gain(a_study(values, mode)) == without


def test_a_trial_under_way_may_be_the_best_and_is_no_ended_one():
    study = a_study([0.5, 0.4], running=2)
    assert trials_without_gain(study) == 1
    study.report(3, {"pairs_seen": 1, "o": 0.9}, "o")
    assert trials_without_gain(study) == 0


def test_a_failed_trial_is_no_best_to_beat():
    study = a_study([0.5, 0.4])
    study.report(study.add({}).number, {"pairs_seen": 1, "o": 0.9}, "o")
    study.finish(2, "FAIL", "diverged")
    assert trials_without_gain(study) == 2


def test_trials_are_done_when_no_more_begin_and_all_have_ended():
    space = a_space(num_samples=9, stop_after_no_gain=2)
    study = a_study([0.5, 0.4], running=1)
    assert wants_more(study, space)
    study.finish(2, "FAIL", "diverged")
    assert is_exhausted(study, space.search)
    assert not wants_more(study, space)
    assert are_trials_done(study, space)
    study.add({})
    assert not are_trials_done(study, space), "the last ones end as they would have ended"


@given(st.lists(st.none() | st.floats(0, 1), max_size=12), st.integers(1, 5))
def test_a_search_stops_after_trials_without_gain(values, patience):
    space = a_space(num_samples=100, stop_after_no_gain=patience)
    begun = 0
    while begun < len(values) and wants_more(a_study(values[:begun]), space):
        begun += 1
    scores = [value for value in values[:begun] if value is not None]
    if begun < len(values):
        last = values[:begun][-patience:]
        assert len(last) == patience
        best = max(scores, default=None)
        assert best is None or best in values[: begun - patience]
    assert wants_more(a_study(values[:begun]), a_space(num_samples=100))
