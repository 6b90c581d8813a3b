"""Schedulers of searches with two objectives."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import play, play_with_kills, space_of

from tune.schedulers.asha import Asha, n_passing
from tune.schedulers.decisions import decisions
from tune.schedulers.rules import scheduler_of
from tune.schedulers.rungs import Rungs
from tune.space.search_settings import FOR_TWO_OBJECTIVES
from tune.study.study import Study

TWO = Rungs(first=100, factor=3.0, second="mb")

values = st.sampled_from([0.1, 0.5, 0.9]) | st.floats(0, 1)
costs = st.sampled_from([1.0, 2.0]) | st.floats(0.1, 100)
trials = st.lists(st.tuples(values, costs), min_size=1, max_size=25)


def arrive(study: Study, value: float, cost: float, rungs: Rungs = TWO) -> str:
    """A trial that reaches the first rung; what becomes of it."""
    number = study.add({}).number
    study.report(number, {"pairs_seen": 100.0, "o": value, "cost/mb": cost}, "o")
    return Asha(rungs).explain(study, number, 0).state


@given(trials)
def test_no_trial_of_the_front_stops_before_a_dominated_one(arrivals):
    study = Study(None, "max")
    for value, cost in arrivals:
        verdict = arrive(study, value, cost)
        found = Asha(TWO).explain(study, len(study) - 1, 0)
        assert found.state == verdict
        places = {len(study) - 1: found.place, **found.rivals}
        passing = {n for n, place in places.items() if place.rank <= n_passing(len(study), 3.0)}
        fronts_of_passing = {places[n].front for n in passing}
        waiting_fronts = {places[n].front for n in places if n not in passing}
        assert max(fronts_of_passing) <= min(waiting_fronts, default=len(study))
        assert (verdict == "RUNNING") == (len(study) - 1 in passing)
        if verdict == "PRUNED" and found.place.front == 1:  # those who pass before it are on the front too
            assert fronts_of_passing == {1}


@given(trials)
def test_equal_costs_decide_as_one_objective_does(arrivals):
    distinct = dict.fromkeys(value for value, _ in arrivals)
    two, one = Study(None, "max"), Study(None, "max")
    for value in distinct:
        assert arrive(two, value, 7.0) == arrive(one, value, 7.0, Rungs(first=100, factor=3.0))


def test_a_small_trial_passes_beside_better_large_ones():
    study = Study(None, "max")
    for value, cost in [(0.9, 8.0), (0.8, 8.0), (0.7, 8.0), (0.6, 8.0), (0.5, 8.0)]:
        arrive(study, value, cost)
    assert arrive(study, 0.1, 1.0) == "RUNNING"
    found = Asha(TWO).explain(study, 5, 0)
    assert found.line == (
        "0.1000 at the rung of 100 pairs, 1 MB, front 1, rank 2 of 6; the best 2 of 6 continue, "
        "front by front; trial 5 is the last of them"
    )
    assert found.to_json()["compared"][0] == {"trial": 0, "value": 0.9, "cost": 8.0, "front": 1}
    assert (found.to_json()["front"], found.to_json()["cost"]) == (1, 1.0)
    assert arrive(study, 0.1, 8.0) == "PRUNED"
    stopped = Asha(TWO).explain(study, 6, 0)
    assert stopped.line.endswith("the best 2 of 7 continue, front by front; trial 5 is the last of them")


reports = st.lists(st.lists(st.floats(0, 1), min_size=9, max_size=9), min_size=2, max_size=7)


@pytest.mark.parametrize("scheduler", FOR_TWO_OBJECTIVES["scheduler"])
@settings(max_examples=8, deadline=None)
@given(
    reports,
    st.lists(st.integers(0, 5), max_size=40),
    st.lists(costs, min_size=7, max_size=7),
    st.integers(1, 3),
    st.lists(st.integers(1, 40), max_size=2),
)
def test_a_record_of_two_objectives_decides_alike(scheduler, reports, order, of_trials, slots, kills):
    space = space_of(scheduler, len(reports), second_objective="mb")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.json"
        play_with_kills(
            space,
            path,
            lambda trial, step: reports[trial.number][step - 1],
            kills,
            slots=slots,
            choices=order,
            costs=of_trials,
        )
        study = Study.read(path)
    assert all(trial.is_done for trial in study)
    assert not [decision for decision in decisions(study, space) if not decision.is_repeated]


def test_promotions_go_front_by_front():
    space = space_of("pausing-asha", 9, second_objective="mb", reduction_factor=3)
    heights = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    study = play(
        space,
        Study(None, "max"),
        lambda trial, step: heights[trial.number] * step,
        costs=[*[5.0] * 8, 1.0],
    )
    reached = [trial.number for trial in study if trial.pairs_seen > 100]
    assert reached == [0, 1, 8]  # 8 has the worst objective and the least MB
    assert study[0].state == "COMPLETE"


def test_the_rungs_know_the_second_objective():
    for name in ("asha", "pausing-asha", "hyperband"):
        scheduler = scheduler_of(space_of(name, 3, second_objective="ms").search)
        assert scheduler.points.second == "ms"
        assert scheduler_of(space_of(name, 3).search).points.second is None
