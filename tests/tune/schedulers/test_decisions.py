"""Every decision of a search, computed again from its record, is the recorded one."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import play, play_with_kills, space_of

from tune.schedulers.decisions import Decision, decisions
from tune.schedulers.rules import scheduler_of
from tune.space.search_settings import SchedulerName
from tune.space.search_space import Space
from tune.study.replay import Replay
from tune.study.study import COSINE, Study

SCHEDULERS = get_args(SchedulerName)
N_REPORTS = 9

values = st.integers(0, 5).map(float) | st.floats(-1, 1) | st.just(math.nan)
curves = st.lists(st.lists(values, min_size=N_REPORTS, max_size=N_REPORTS), min_size=2, max_size=9)
orders = st.lists(st.integers(0, 5), max_size=60)


def refuse_unrepeated(found: list[Decision]) -> None:
    assert not [decision for decision in found if not decision.is_repeated]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=8, deadline=None)
@given(curves, orders, st.integers(1, 4), st.sampled_from(["max", "min"]), st.integers(0, 2))
def test_every_decision_is_repeated(scheduler, reports, order, slots, mode, n_trusted):
    space = replace(space_of(scheduler, len(reports)), first=({"learn_rate": 1e-3},) * n_trusted)
    study = play(
        space,
        Study(None, mode),
        lambda trial, step: reports[trial.number][step - 1],
        slots=slots,
        choices=order,
    )
    found = list(decisions(study, space))
    refuse_unrepeated(found)
    stopped = {trial.number for trial in study if trial.why}
    assert stopped <= {decision.number for decision in found}
    for number in range(len(study)):
        assert list(decisions(study, space, number)) == [d for d in found if d.number == number]


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=20, deadline=None)
@given(
    curves,
    orders,
    st.integers(1, 3),
    st.lists(st.integers(1, 60), max_size=4),
    st.lists(st.booleans(), max_size=40),
)
def test_kills_and_deaths_leave_decisions_repeatable(scheduler, reports, order, slots, kills, deaths):
    space = space_of(scheduler, len(reports)).searched_by(max_failures=40)

    def objective(trial, step):
        return reports[trial.number][step - 1]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.json"
        others = {"slots": slots, "choices": order, "deaths": deaths}
        study = play_with_kills(space, path, objective, kills, N_REPORTS, **others)
        study.save()
        refuse_unrepeated(list(decisions(Study.read(path), space)))


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "pbt"])
@settings(max_examples=6, deadline=None)
@given(curves, st.integers(1, 3), st.integers(1, 3))
def test_decisions_before_a_growth_keep_their_limits(scheduler, reports, slots, n_more):
    def objective(trial, step):
        return reports[trial.number % len(reports)][step - 1]

    space = space_of(scheduler, len(reports)).searched_by(stop_after_no_gain=2)
    study = play(space, Study(None, "max"), objective, N_REPORTS, slots)
    grown = space.searched_by(num_samples=len(reports) + n_more, stop_after_no_gain=3)
    play(grown, study, objective, N_REPORTS, slots)
    refuse_unrepeated(list(decisions(study, grown)))


@pytest.mark.parametrize("scheduler", ["asha", "pausing-asha", "median"])
@settings(max_examples=6, deadline=None)
@given(
    st.lists(st.lists(values, min_size=N_REPORTS, max_size=N_REPORTS), min_size=10, max_size=12),
    st.lists(st.integers(1, 60), max_size=4),
    st.floats(0.01, 0.5),
    st.floats(0.05, 0.9),
)
def test_kills_change_no_end_by_chance(scheduler, reports, kills, gain, chance):
    limits = {"stop_gain": gain, "stop_chance": chance}
    space = space_of(scheduler, len(reports)).searched_by(**limits)

    def objective(trial, step):
        return reports[trial.number][step - 1]

    whole = play(space, Study(None, "max"), objective, N_REPORTS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.json"
        play_with_kills(space, path, objective, kills, N_REPORTS)
        again = Study.read(path)
        assert [(t.state, t.values) for t in again] == [(t.state, t.values) for t in whole]
        refuse_unrepeated(list(decisions(again, space.searched_by(stop_chance=0.99))))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=6, deadline=None)
@given(curves, orders, st.integers(1, 3))
def test_a_new_trial_starts_only_where_none_is_promoted(scheduler, reports, order, slots):
    space = space_of(scheduler, len(reports))
    study = play(
        space,
        Study(None, "max"),
        lambda trial, step: reports[trial.number][step - 1],
        slots=slots,
        choices=order,
    )
    replay = Replay(study)
    for event, _ in replay.events():
        if event.kind == "add":
            assert scheduler_of(space.search, space).next_paused(replay.study) is None
        replay.apply(event)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=6, deadline=None)
@given(curves, orders, st.integers(1, 3))
def test_a_whole_replay_restores_the_record(scheduler, reports, order, slots):
    study = play(
        space_of(scheduler, len(reports)),
        Study(None, "max"),
        lambda trial, step: reports[trial.number][step - 1],
        slots=slots,
        choices=order,
    )
    replay = Replay(study)
    for event, _ in replay.events():
        replay.apply(event)
    restored = [(t.params, t.state, t.values, t.pairs_seen) for t in replay.study]
    assert restored == [(t.params, t.state, t.values, t.pairs_seen) for t in study]


def played(space: Space, *curves: list[float], slots: int = 1) -> Study:
    return play(
        space,
        Study(None, "max"),
        lambda trial, step: curves[trial.number][min(step, len(curves[trial.number])) - 1],
        slots=slots,
    )


def test_rank_threshold_and_rivals_of_a_stop():
    space = space_of("asha", 4)  # rungs at 100, 300 and 900 pairs
    study = played(space, [0.5], [0.7], [0.9], [0.6])
    (stop,) = decisions(study, space, 3)
    found = stop.explanation
    assert (stop.decided, found.pairs, found.where) == ("PRUNED", 100, "rung of 100 pairs")
    assert (found.value, found.rank, found.threshold) == (0.6, 3, 0.9)
    assert found.compared == {0: 0.5, 1: 0.7, 2: 0.9}
    assert study[3].why == found.line
    assert (
        found.line
        == "0.6000 at the rung of 100 pairs, rank 3 of 4; the best 1 of 4 continue, with 0.9000 or more"
    )


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median"])
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=4, max_size=9), st.integers(0, 9))
def test_the_threshold_lets_a_trial_pass_and_less_does_not(scheduler, others, value):
    space = space_of(scheduler, 9)
    study = Study(None, "max")
    for other in others:
        study.report(study.add({}).number, {"pairs_seen": 100.0, "o": float(other)}, "o")
    number = study.add({}).number
    rule = scheduler_of(space.search, space)

    def judged(reached: float) -> str:
        study[number].values.clear()
        study.report(number, {"pairs_seen": 100.0, "o": reached}, "o")
        return rule.explain(study, number, 0).state

    judged(float(value))
    threshold = rule.explain(study, number, 0).threshold
    if threshold is None:
        assert judged(-99.0) == "RUNNING"
    else:
        assert (judged(threshold), judged(threshold - 0.01)) == ("RUNNING", "PRUNED")


def test_a_trusted_trial_continues_though_it_ranks_low():
    space = replace(space_of("asha", 4), first=({"learn_rate": 1e-3}, {"learn_rate": 2e-3}))
    study = played(space, [0.9], [0.1], [0.5], [0.4])
    first = next(iter(decisions(study, space, 1)))
    assert (first.decided, first.explanation.is_trusted) == ("RUNNING", True)
    assert (first.explanation.rank, first.explanation.threshold) == (2, 0.9)


def test_equal_trials_of_other_cosines_are_replayed():
    study = Study(None, "max")
    for cosine in (0.1, 0.3, 0.2):
        study.report(study.add({}).number, {"pairs_seen": 100.0, "o": 0.5, COSINE: cosine}, "o")
    replay = Replay(study)
    for event, _ in replay.events():
        replay.apply(event)
    leader = replay.study.leader()
    assert leader is not None
    assert leader.number == 1


def test_a_changed_record_is_noticed():
    space = space_of("asha", 4)
    study = played(space, [0.5], [0.7], [0.9], [0.6])
    assert study.journal is not None
    events = [
        event._replace(detail=(100, 0.95)) if (event.kind, event.number) == ("report", 3) else event
        for event in study.journal
    ]
    study.journal = type(study.journal)(events)
    (stop,) = decisions(study, space, 3)
    assert (stop.explanation.state, stop.decided, stop.is_repeated) == ("RUNNING", "PRUNED", False)


def test_an_older_record_has_no_journal(tmp_path):
    study = Study(tmp_path / "study.json", "max")
    study.report(study.add({}).number, {"pairs_seen": 100.0, "o": 0.5}, "o")
    study.save()
    tree = json.loads(study.path.read_text())
    del tree["journal"]
    study.path.write_text(json.dumps(tree))
    older = Study.reopen(study.path)
    assert older.journal is None
    older.add({})  # without the first trial's events a journal would be wrong
    assert Study.read(study.path).journal is None
