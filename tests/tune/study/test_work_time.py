from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.config.settings import load
from tune.cluster.resources import Resources
from tune.space.dimensions import FloatRange
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import Attempt
from tune.study.work_time import (
    busy_share,
    covered,
    most_at_once,
    rest_of_run,
    seconds_left,
    session_seconds,
    sessions,
    worked_seconds,
)


@pytest.fixture
def study() -> Study:
    """Three trials at once, in 100 to 104, 101 to 105 and 102 to 106, 3.5 seconds of training each."""
    study = Study(None, "max")
    for i in range(3):
        trial = study.add({})
        trial.enter_attempt(100.0 + i, 104.0 + i)
        trial.seconds = 3.5
    return study


def test_share_of_busy_slots(study: Study) -> None:
    assert busy_share(study, 2) == pytest.approx(3 * 3.5 / (2 * 6))
    assert busy_share(Study(None, "max"), 0) == 0


def test_parallel_time_counts_once_and_as_several_slots(study: Study) -> None:
    assert worked_seconds(study) == 6
    assert most_at_once(study) == 3


def test_the_night_between_two_sessions_is_no_time_of_the_slots() -> None:
    study = Study(None, "max")
    trial = study.add({})
    trial.enter_attempt(0.0, 10.0, session=1)
    trial.enter_attempt(5000.0, 5010.0, session=2)
    trial.seconds = 18.0
    assert session_seconds(study) == 20
    assert busy_share(study, 1) == pytest.approx(0.9)


def test_a_trial_works_from_each_start_to_its_last_report(tmp_path: Path) -> None:
    study = Study(tmp_path / "study.json", "max")
    trial = study.add({})
    for started, ended, machine, session in [
        (10.0, 11.0, "north", 1),
        (10.0, 12.0, "north", 1),
        (20.0, 25.0, "south", 1),  # taken up again
        (90.0, 99.0, "south", 2),
    ]:
        trial.enter_attempt(started, ended, machine, session)
    assert (trial.started, trial.ended, trial.machine) == (10, 99, "south")
    assert trial.stints == [
        Attempt(10, 12, "north", 1),
        Attempt(20, 25, "south", 1),
        Attempt(90, 99, "south", 2),
    ]
    assert (sessions(study), session_seconds(study)) == ({1: (10, 25), 2: (90, 99)}, 24)
    study.save()
    assert Study.reopen(tmp_path / "study.json").trials == study.trials


def test_an_older_record_has_first_start_and_last_end_only(tmp_path: Path) -> None:
    study = Study(tmp_path / "study.json", "max")
    study.add({}).enter_attempt(10.0, 12.0, "north", 1)
    study.add({})
    study.save()
    tree = json.loads((tmp_path / "study.json").read_text())
    for entry in tree["trials"]:
        del entry["stints"]
    (tmp_path / "study.json").write_text(json.dumps(tree))
    again = Study.reopen(tmp_path / "study.json")
    assert [trial.stints for trial in again] == [[Attempt(10, 12, "north")], []]
    again[0].enter_attempt(50.0, 60.0, "north", 1)
    assert session_seconds(again) == 12


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=12))
def test_time_counts_once(spans: list[tuple[int, int]]) -> None:
    seconds = {t for start, length in spans for t in range(start, start + length)}
    assert covered((s, s + n) for s, n in spans) == len(seconds)


def a_search(*trials: tuple[str, float]) -> Study:
    """A search of trials with such states and seconds."""
    study = Study(None, "max")
    for state, seconds in trials:
        trial = study.add({})
        trial.seconds = seconds
        if state != "RUNNING":
            study.finish(trial.number, state)
    return study


def search_of(num_samples: int, n_trusted: int = 0, **leaves: Any) -> Search:
    """A search of so many trials, the first of them trusted."""
    rules = SearchSettings().model_copy(update={"num_samples": num_samples})
    space = Space({"learn_rate": FloatRange(1e-4, 1e-2)}, ({},) * n_trusted, rules)
    return Search("mine", "uid", space, load().override(leaves), Resources())


@pytest.mark.parametrize(
    ("trials", "n_trusted", "slots", "left"),
    [
        ([("RUNNING", 9.0), ("RUNNING", 9.0)], 0, 2, None),
        ([("COMPLETE", 10.0), ("RUNNING", 9.0)], 0, 2, (1 + 6 * 10) / 2),
        ([("COMPLETE", 10.0), ("RUNNING", 12.0)], 0, 2, 6 * 10 / 2),  # longer than any: nobody knows
        ([("COMPLETE", 10.0)] * 7 + [("RUNNING", 12.0)], 0, 2, None),
        ([("COMPLETE", 10.0)] * 6 + [("RUNNING", 9.0), ("RUNNING", 1.0)], 0, 2, 9),  # the longer one
        ([("COMPLETE", 10.0), ("PRUNED", 2.0), ("RUNNING", 4.0)], 0, 1, 6 + 5 * 6),
        ([("COMPLETE", 50.0), ("COMPLETE", 50.0), ("RUNNING", 1.0)], 2, 2, None),  # trusted ones alone
        ([("COMPLETE", 50.0), ("RUNNING", 40.0), ("PRUNED", 2.0)], 2, 1, 10 + 5 * 2),
        ([("COMPLETE", 10.0)] * 7 + [("RUNNING", 4.0)], 8, 4, 6),  # all trusted; one slot is enough
        ([("COMPLETE", 10.0)] * 7, 0, 4, 10),  # one trial left
        ([("COMPLETE", 10.0)] * 8, 0, 2, None),
        ([("FAIL", 0.0)] * 2, 0, 2, None),
    ],
)
def test_time_left_follows_the_ended_trials(
    trials: list[tuple[str, float]], n_trusted: int, slots: int, left: float | None
) -> None:
    assert seconds_left(a_search(*trials), search_of(8, n_trusted), slots) == left


def test_a_paused_trial_is_a_reference_like_an_ended_one() -> None:
    study = a_search(("COMPLETE", 30.0), ("RUNNING", 6.0), ("RUNNING", 2.0))
    study[1].state = "PAUSED"
    assert seconds_left(study, search_of(4, 1), 1) == 4 + 6


@given(
    st.lists(st.tuples(st.sampled_from(["RUNNING", "COMPLETE", "PRUNED", "FAIL"]), st.floats(0, 1e6))),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(1, 9),
)
def test_time_left_is_bounded_by_zero_and_the_slowest_rate(
    trials: list[tuple[str, float]], n_more: int, n_trusted: int, slots: int
) -> None:
    study = a_search(*trials)
    n_trials = len(study) + n_more
    left = seconds_left(study, search_of(n_trials, n_trusted), slots)
    slowest = max((seconds for _, seconds in trials), default=0.0)
    assert left is None or 0 < left <= slowest * (n_trials - study.n_done) * (1 + 1e-9)


@given(
    ended=st.lists(st.floats(1, 1e5), min_size=1, max_size=9),
    under_way=st.lists(st.tuples(st.floats(1, 1e5), st.floats(0.01, 0.99)), min_size=1, max_size=4),
    slots=st.integers(1, 4),
)
def test_trials_under_way_take_no_longer_than_to_their_own_ends(
    ended: list[float], under_way: list[tuple[float, float]], slots: int
) -> None:
    """At their own pace; and those that have taken longest of all, just as long."""
    study = a_search(*[("COMPLETE", seconds) for seconds in ended], *[("RUNNING", s) for s, _ in under_way])
    own = []
    for trial, (seconds, done) in zip(study.trials[len(ended) :], under_way, strict=True):
        trial.metrics["epoch"] = 7.0 * done
        own.append(seconds * (1 / done - 1))
    left = seconds_left(study, search_of(len(study), epochs=7.0), slots)
    assert left is not None
    assert 0 < left <= max(max(own), sum(own) / min(slots, len(own))) * (1 + 1e-6)
    if all(seconds > max(ended) for seconds, _ in under_way):
        assert left == pytest.approx(max(max(own), sum(own) / min(slots, len(own))))


@pytest.mark.parametrize(
    ("epochs", "step", "rest"),
    [
        (1.999, 8, 0.0),  # the last step of 7.996, rounded to whole steps
        (2.1, 8, 0.0),  # of 8.4
        (2.1, 4, 1.0),
        (0.01, 1, 0.0),  # a run takes at least one step
        (2.0, 6, 8 / 6 - 1),
    ],
)
def test_a_run_has_no_rest_after_its_last_whole_step(epochs: float, step: int, rest: float) -> None:
    study = a_search(("COMPLETE", 1.0))
    study[0].metrics = {"epoch": step / 4, "step": float(step)}
    assert rest_of_run(study[0], load().override({"epochs": epochs})) == rest


def test_a_trial_that_stops_at_other_epochs_has_its_own_end() -> None:
    study = a_search(("COMPLETE", 1.0), ("RUNNING", 60.0))
    study[1].metrics["epoch"] = 2.0
    study[1].params = {"epochs": 3.0}
    assert seconds_left(study, search_of(2), 1) == pytest.approx(30.0)
