"""Searches whose trials are compared after equal seconds of their own training."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import Killed, play, play_with_kills, space_of

from themo.config.settings import load
from tune.schedulers.asha import Asha
from tune.schedulers.decisions import decisions
from tune.schedulers.median import Median
from tune.schedulers.pausing import PausingAsha
from tune.schedulers.rungs import Interval, Rungs
from tune.searchers.history import to_optuna
from tune.space.search_settings import SearchSettings
from tune.study.study import Study
from tune.study.trial_record import Mode
from tune.study.work_time import rest_of_run

SCHEDULERS = ("asha", "pausing-asha", "hyperband", "median", "none")
N_REPORTS = 9

curves = st.lists(st.lists(st.floats(0, 1), min_size=N_REPORTS, max_size=N_REPORTS), min_size=2, max_size=7)
orders = st.lists(st.integers(0, 5), max_size=40)
paces = st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.7]), min_size=7, max_size=7)


def reported(study: Study, values: list[float], seconds_each: float) -> int:
    """A trial with these values at equal pairs, each after so many seconds."""
    number = study.add({}).number
    for step, value in enumerate(values, start=1):
        metrics = {"pairs_seen": 100.0 * step, "training_seconds": seconds_each * step, "o": value}
        study.report(number, metrics, "o")
    return number


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=8, deadline=None)
@given(curves, orders, paces, st.integers(1, 3), st.lists(st.integers(1, 40), max_size=2))
def test_the_same_record_gives_the_same_decisions(scheduler, reports, order, pace, slots, kills):
    space = space_of(scheduler, len(reports), resource="seconds", trial_seconds=6)
    attempts = iter(range(1000))

    def seconds(number: int, _step: int) -> float:
        return pace[number] + next(attempts) / 1000  # no attempt takes the time of another one

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.json"
        play_with_kills(
            space,
            path,
            lambda trial, step: reports[trial.number][step - 1],
            kills,
            slots=slots,
            choices=order,
            pace=seconds,
        )
        study = Study.read(path)
    assert all(trial.is_done for trial in study)
    assert not [decision for decision in decisions(study, space) if not decision.is_repeated]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=9),
    st.floats(0.1, 10),
    st.sampled_from(["max", "min"]),
)
def test_a_trial_twice_as_slow_has_its_values_twice_as_late(values: list[float], pace: float, mode: Mode):
    study = Study(None, mode)
    fast, slow = (study[reported(study, values, seconds)] for seconds in (1.0, 2.0))
    at_once = Rungs(pace, 3.0, "seconds").values(fast, mode)
    later = Rungs(2 * pace, 3.0, "seconds").values(slow, mode)
    assert [rung / 2 for rung in later] == pytest.approx(list(at_once), abs=1e-3)
    assert list(later.values()) == pytest.approx(list(at_once.values()))


RISING = [0.1 * step for step in range(1, 10)]


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median"])
def test_of_equal_values_a_pair_the_slower_trial_is_stopped(scheduler):
    def searched(**search: object) -> Study:
        brackets = {"brackets": 1} if scheduler == "hyperband" else {}
        space = space_of(scheduler, 6, **brackets, **search)
        return play(
            space,
            Study(None, "max"),
            lambda _trial, step: RISING[step - 1],
            pace=lambda number, _step: 2.0 if number == 5 else 1.0,
        )

    in_pairs = searched()
    assert [trial.state for trial in in_pairs] == ["COMPLETE"] * 6
    in_seconds = searched(resource="seconds", trial_seconds=9, grace_share=None, grace_seconds=3)
    assert [trial.state for trial in in_seconds] == [*["COMPLETE"] * 5, "PRUNED"]


def test_a_rung_lies_between_two_reports():
    study = Study(None, "max")
    for _ in range(2):
        reported(study, [0.2, 0.6, 0.8], 1.0)  # 0.6 after two seconds, 0.7 after two and a half
    slow = reported(study, [0.4, 0.8], 2.0)
    rule = Asha(Rungs(2.5, 3.0, "seconds"))
    found = rule.explain(study, slow, 2.0)
    assert (found.state, found.where) == ("PRUNED", "rung of 2.5 s")
    assert found.value == pytest.approx(0.5)
    assert found.compared == {0: pytest.approx(0.7), 1: pytest.approx(0.7)}


@pytest.mark.parametrize("kind", ["asha", "pausing-asha"])
def test_a_trial_without_a_report_in_time_is_not_judged(kind):
    study = Study(None, "max")
    reported(study, [0.9], 1.0)
    slow = reported(study, [0.1], 4.0)
    rungs = Rungs(1.0, 2.0, "seconds")  # at 1, 2 and 4 seconds
    rule = Asha(rungs) if kind == "asha" else PausingAsha(rungs, SearchSettings())
    study[slow].metrics["training_seconds"] = study[slow].seconds_at[100] = 3.9
    assert rule.explain(study, slow, 0.0).state == "RUNNING"
    assert not rule.explain(study, slow, 0.0).where


def test_running_averages_end_at_equal_seconds():
    study = Study(None, "max")
    for _ in range(3):
        reported(study, [0.5, 0.5, 0.9, 0.9], 1.0)
    slow = reported(study, [0.4], 2.0)
    found = Median(Interval(2.0), "seconds").explain(study, slow, 0.0)
    assert (found.state, found.where, found.threshold) == ("PRUNED", "report after 2 s", 0.5)


def test_a_trial_is_complete_when_its_seconds_are_over():
    space = space_of("none", 2, resource="seconds", trial_seconds=3.5)
    study = play(
        space, Study(None, "max"), lambda _trial, step: step / 9, pace=lambda number, _: 1.0 - number / 2
    )
    assert [(t.state, t.pairs_seen, t.training_seconds) for t in study] == [
        ("COMPLETE", 400, 4.0),
        ("COMPLETE", 700, 3.5),
    ]
    assert study[0].reason == "its 3.5 s ended at 4 s of training (400 pairs)"


def test_lost_work_does_not_count_as_training(tmp_path):
    space = space_of("none", 1, resource="seconds", trial_seconds=9, grace_share=0.3)
    path = tmp_path / "study.json"
    Study(path, "max").save()
    with pytest.raises(Killed):  # the checkpoint after three reports stands, three more reports are lost
        play(space, Study.reopen(path), lambda _trial, step: step / 9, moments=7)
    resumed = Study.reopen(path)
    assert (resumed[0].pairs_seen, resumed[0].training_seconds) == (300, 3.0)
    study = play(space, resumed, lambda _trial, step: step / 9, pace=lambda _number, _step: 0.5)
    assert study[0].training_seconds == 3.0 + 6 * 0.5


def test_samplers_count_milliseconds():
    space = space_of("asha", 1, resource="seconds", trial_seconds=6, grace_share=0.5)
    study = play(space, Study(None, "max"), lambda _trial, step: step / 9, pace=lambda *_: 1.25)
    (trial,) = to_optuna(space, study).trials
    assert list(trial.intermediate_values) == [1250, 2500, 3750, 5000, 6250]


def test_a_cut_trial_has_no_epochs_left():
    space = space_of("none", 1, resource="seconds", trial_seconds=4)
    study = play(space, Study(None, "max"), lambda _trial, step: step / 9)
    base = load().override({"epochs": 3.0})
    study[0].params, study[0].metrics["epoch"] = {}, 1.0
    assert rest_of_run(study[0], base) == 2
    assert rest_of_run(study[0], base, trial_seconds=4) == 0
    assert rest_of_run(study[0], base, trial_seconds=8) == 1
