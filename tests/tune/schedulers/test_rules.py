"""Rules of all schedulers, for any reports in any order."""

from __future__ import annotations

import math
import re
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import facts, play, play_with_kills, space_of

from tune.driver.scheduler import StudyScheduler
from tune.driver.searcher import StudySearcher
from tune.driver.stoppers import Breakdown
from tune.schedulers.rules import scheduler_of
from tune.space.search_settings import SchedulerName, SearchSettings
from tune.study.study import Study
from tune.worker.trial_report import TrialReport

SCHEDULERS = get_args(SchedulerName)
SLOW = ("none", "median", "pbt", "freeze-thaw")
"""The first three stop few trials, or none, so that a search has many reports; the last one fits a model."""
PAUSING = ("pausing-asha", "freeze-thaw")
N_REPORTS = 9

values = st.integers(0, 5).map(float) | st.floats(-1, 1)
curves = st.lists(values, min_size=N_REPORTS, max_size=N_REPORTS)
curves_with_nan = st.lists(values | st.just(math.nan), min_size=N_REPORTS, max_size=N_REPORTS)
orders = st.lists(st.integers(0, 5), max_size=60)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_best_trial_throughout_is_never_stopped(scheduler, data):
    rest = data.draw(st.lists(curves_with_nan, min_size=1, max_size=12))
    place = data.draw(st.integers(0, len(rest)))
    order = data.draw(orders)
    slots = data.draw(st.integers(1, 4))
    best = [10.0 + step for step in range(N_REPORTS)]
    reports = [*rest[:place], best, *rest[place:]]
    study = play(
        space_of(scheduler, len(reports)),
        Study(None, "max"),
        lambda trial, step: reports[trial.number][step - 1],
        slots=slots,
        choices=order,
    )
    assert study[place].state == "COMPLETE"
    assert study.counts()["RUNNING"] == study.counts()["PAUSED"] == 0
    winner = study.winner()
    assert winner is not None
    assert winner.number == place


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=15, deadline=None)
@given(st.lists(curves, min_size=2, max_size=9), orders, st.integers(1, 3))
def test_minimising_is_maximising_the_negative(scheduler, reports, order, slots):
    space = space_of(scheduler, len(reports))

    def states(mode, sign):
        study = play(
            space,
            Study(None, mode),
            lambda trial, step: sign * reports[trial.number][step - 1],
            slots=slots,
            choices=order,
        )
        return [(trial.state, list(trial.values)) for trial in study]

    assert states("max", 1) == states("min", -1)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=15, deadline=None)
@given(st.integers(2, 9), orders, st.integers(1, 3), st.floats(-1, 1))
def test_trials_that_are_equal_everywhere_never_stop_each_other(scheduler, n_trials, order, slots, value):
    study = play(
        space_of(scheduler, n_trials), Study(None, "max"), lambda *_: value, slots=slots, choices=order
    )
    whole = [trial.number for trial in study if trial.state == "COMPLETE"]
    if scheduler == "pausing-asha":  # a promotion is one in eta by count: of equals the earlier
        assert whole
        assert whole == list(range(len(whole)))
    else:
        assert len(whole) == n_trials


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_trial_without_finite_report_fails_and_stops_nobody(scheduler):
    study = play(
        space_of(scheduler, 6),
        Study(None, "max"),
        lambda trial, step: math.nan if trial.number < 4 else float(step),
    )
    ends = ["COMPLETE", "PRUNED" if scheduler in PAUSING else "COMPLETE"]
    assert [trial.state for trial in study] == ["FAIL"] * 4 + ends


@pytest.mark.parametrize("scheduler", ["asha", "pausing-asha", "hyperband", "median"])
def test_trials_that_failed_later_stop_nobody(scheduler: str) -> None:
    """They were the best at every rung, and cannot win."""
    space, study = space_of(scheduler, 6), Study(None, "max")
    rule = scheduler_of(space.search, space)
    for height in (9.0, 8.0, 7.0, 6.0, 0.5):
        number = study.add({"learn_rate": 1e-3 * height, "batch_size": 32}).number
        for step in range(1, N_REPORTS + 1):
            study.report(number, {"pairs_seen": 100.0 * step, "o": height + step}, "o")
            found = rule.explain(study, number, 100.0 * (step - 1))
            assert height > 1 or (found.rank in (None, 1) and found.state != "PRUNED")
        if height > 1:
            study.finish(number, "FAIL", "diverged: loss is nan")


@pytest.mark.parametrize(
    "scheduler",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in SCHEDULERS],
)
@settings(max_examples=25, deadline=None)
@given(
    st.lists(curves_with_nan, min_size=3, max_size=9),
    st.lists(st.integers(1, 60), min_size=1, max_size=5),
)
def test_a_search_killed_anywhere_ends_as_one_that_was_not(scheduler, reports, kills):
    space = space_of(scheduler, len(reports))

    def objective(trial, step):
        return reports[trial.number][step - 1]

    with tempfile.TemporaryDirectory() as folder:
        killed = play_with_kills(space, Path(folder) / "study.json", objective, kills)
    assert facts(killed) == facts(play(space, Study(None, "max"), objective))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@settings(max_examples=25, deadline=None)
@given(st.lists(curves_with_nan, min_size=3, max_size=9), st.lists(st.booleans(), max_size=40))
def test_worker_deaths_do_not_change_the_outcome(scheduler, reports, deaths):
    space = space_of(scheduler, len(reports)).searched_by(max_failures=40)

    def objective(trial, step):
        return reports[trial.number][step - 1]

    died = play(space, Study(None, "max"), objective, deaths=deaths)
    assert facts(died) == facts(play(space, Study(None, "max"), objective))


def test_a_trial_with_too_many_worker_deaths_fails_alone():
    space = space_of("asha", 3).searched_by(max_failures=2)
    study = play(space, Study(None, "max"), lambda _, step: float(step), deaths=[True] * 3)
    assert [trial.state for trial in study] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert study[0].reason == "its worker died"


def test_each_retry_after_a_death_prints_one_line(capsys):
    space = space_of("none", 3).searched_by(max_failures=2, num_samples=1)
    play(space, Study(None, "max"), lambda _, step: float(step), deaths=[True, False, False, True])
    first, second = capsys.readouterr().err.splitlines()
    assert first == "Trial 0: its worker died, retried from its start"
    assert re.fullmatch(r"Trial 0: its worker died, retried from [0-9,]+ pairs", second)


def test_deaths_before_a_new_checkpoint_are_forgiven():
    space = space_of("none", 3).searched_by(max_failures=2, num_samples=1)
    study = play(space, Study(None, "max"), lambda _, step: float(step), deaths=[True, True, False] * 3)
    assert study[0].state == "COMPLETE"


def test_a_trial_silently_given_up_by_ray_resumes():
    study = Study(None, "max")
    space = space_of("asha", 3)
    searcher = StudySearcher(space, study, lambda: 1, lambda: 0.0)
    assert searcher.suggest("a")["number"] == 0
    assert searcher.suggest("b") is None
    given_up = SimpleNamespace(trial_id="a", status="ERROR")
    controller = SimpleNamespace(
        get_live_trials=lambda: {given_up.trial_id: given_up}.values(),
        search_alg=searcher,
    )
    scheduler = StudyScheduler(space, study, "o", Breakdown(lambda: 1))
    for _ in range(2):
        assert scheduler.choose_trial_to_run(controller) is None
    assert searcher.suggest("b")["number"] == 0
    assert len(study) == 1


def test_waiting_trials_run_in_the_order_of_handing_out():
    scheduler = StudyScheduler(space_of("asha", 3), Study(None, "max"), "o", Breakdown(lambda: 1))
    trials = [SimpleNamespace(trial_id=name, status="PENDING") for name in "dabc"]
    controller = SimpleNamespace(get_live_trials=lambda: set(map(Handed, trials)))
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    trials[0].status = "RUNNING"
    assert scheduler.choose_trial_to_run(controller).trial is trials[1]
    for trial in trials:
        trial.status = "TERMINATED"
    assert scheduler.choose_trial_to_run(controller) is None


class Handed:
    """A trial in a set, as Ray keeps those that live."""

    def __init__(self, trial):
        self.trial, self.trial_id = trial, trial.trial_id

    @property
    def status(self):
        return self.trial.status


def test_a_worker_that_waits_for_room_reports_nothing_yet():
    study = Study(None, "max")
    study.add({"learn_rate": 1.0})
    before = replace(study[0])
    why = "No space left on device"
    report = TrialReport(number=0, metrics={}, seconds=1.0, started=1.0, ended=2.0, machine="here", waits=why)
    scheduler = StudyScheduler(space_of("asha", 3), study, "o", Breakdown(lambda: 1))
    assert (
        scheduler.on_trial_result(None, SimpleNamespace(config={"number": 0}), asdict(report)) == "CONTINUE"
    )
    assert study[0] == before


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@given(st.integers(0, 20), st.integers(0, 5000), st.integers(0, 5000))
def test_trials_are_judged_only_at_checkpoints(scheduler, number, first, second):
    rule = scheduler_of(SearchSettings(scheduler=scheduler, grace_pairs=100))
    before, pairs = sorted([first, second])
    study = Study(None, "max")
    for i in range(21):
        study.add({})
        study.report(i, {"pairs_seen": float(pairs), "o": float(i != number)}, "o")
    if not rule.is_judged(number, before, pairs):
        assert rule.explain(study, number, before).state == "RUNNING"


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "pbt"])
def test_trusted_settings_train_to_the_end_even_when_worse(scheduler):
    space = replace(space_of(scheduler, 9), first=({"learn_rate": 1e-3}, {"learn_rate": 2e-3}))
    study = play(space, Study(None, "max"), lambda trial, step: float(trial.number * step), slots=3)
    assert [study[number].state for number in (0, 1)] == ["COMPLETE", "COMPLETE"]


def test_trusted_settings_without_a_finite_report_are_stopped():
    space = replace(space_of("asha", 2), first=({"learn_rate": 1e-3},))
    study = play(space, Study(None, "max"), lambda trial, _: math.nan if trial.number == 0 else 1.0)
    assert (study[0].state, study[0].pairs_seen) == ("FAIL", 100)


def test_an_unstopped_search_stops_nobody():
    study = play(space_of("none", 7), Study(None, "max"), lambda trial, step: -step * trial.number)
    assert study.counts()["COMPLETE"] == 7
