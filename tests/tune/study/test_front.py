from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.study.front import cost_in_words, front_of, fronts, places, spread
from tune.study.study import Study

losses = st.sampled_from([-0.9, -0.5, -0.1, 0.0]) | st.floats(-1, 1)
costs = st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.01, 1000)
points = st.lists(st.tuples(losses, costs), max_size=30).map(lambda found: dict(enumerate(found)))


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one != other


def record(*trials: tuple[float, float]) -> Study:
    """Complete trials with an objective and MB."""
    study = Study(None, "max")
    for value, cost in trials:
        number = study.add({}).number
        study.report(number, {"pairs_seen": 100.0, "o": value, "cost/mb": cost}, "o")
        study.finish(number, "COMPLETE")
    return study


@given(points)
def test_fronts_are_those_of_their_definition(points):
    left = set(points)
    for front in fronts(points):
        undominated = {n for n in left if not any(dominates(points[m], points[n]) for m in left)}
        assert set(front) == undominated
        assert front == sorted(front, key=lambda n: (points[n][0], n))
        left -= undominated
    assert not left


@given(points.filter(bool))
def test_a_front_begins_with_its_ends(points):
    front = fronts(points)[0]
    ordered = spread({number: points[number] for number in front})
    assert sorted(ordered) == sorted(front)
    assert points[ordered[0]][0] == min(loss for loss, _ in points.values())
    if len({points[number] for number in front}) > 1:  # the other end is farthest
        assert points[ordered[1]][1] == min(points[number][1] for number in front)


def test_a_front_is_covered_from_its_ends():
    line = {0: (0.0, 16.0), 1: (0.1, 8.0), 2: (0.5, 4.0), 3: (0.9, 2.0), 4: (1.0, 1.0)}
    assert spread(line) == [0, 4, 2, 1, 3]
    assert spread({1: (0.0, 1.0), 0: (0.0, 1.0)}) == [0, 1]


def test_places_rank_front_by_front():
    study = record((0.9, 4.0), (0.8, 5.0), (0.5, 1.0), (0.7, 2.0), (0.4, 1.0))
    found = places(study, {trial.number: trial.best("max") or 0.0 for trial in study})
    assert [(n, place.front, place.rank) for n, place in found.items()] == [
        (0, 1, 1),
        (2, 1, 2),
        (3, 1, 3),
        (1, 2, 4),
        (4, 2, 5),
    ]
    assert (found[3].value, found[3].cost) == (0.7, 2.0)


def test_the_front_has_trials_with_a_score_only():
    study = record((0.9, 4.0), (0.8, 5.0), (0.5, 1.0))
    study.add({})
    failed = study.add({}).number
    study.report(failed, {"pairs_seen": 100.0, "o": 1.0, "cost/mb": 0.1}, "o")
    study.finish(failed, "FAIL")
    assert [trial.number for trial in front_of(study)] == [2, 0]
    assert front_of(Study(None, "max")) == []


def test_a_trial_without_a_cost_has_no_place():
    study = Study(None, "max")
    study.add({})
    study.report(0, {"pairs_seen": 100.0, "o": 0.5}, "o")
    with pytest.raises(ValueError, match="trial 0 has no cost"):
        places(study, {0: 0.5})
    assert front_of(study) == []


def test_a_cost_has_its_unit():
    assert cost_in_words(1.2345, "mb") == "1.23 MB"
    assert cost_in_words(math.pi, "ms") == "3.14 ms per text"
