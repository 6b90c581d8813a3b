"""The account that a search under faults must give finds what is wrong."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chaos.accounts import (
    Attempt,
    Ends,
    Kill,
    read_attempts,
    reports_lost,
    wrong_in_comparison,
    wrong_in_study,
    wrong_in_work,
)
from benchmarks.chaos.faults import EACH_ONCE, KINDS, draw
from benchmarks.chaos.formula import METRIC, PAIRS_A_REPORT, name_of
from tune.study.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two trials, of nine reports and of one."""
    study = Study(None, "max")
    for number, n_reports in enumerate((9, 1)):
        trial = study.add({"learn_rate": 0.1 / (number + 1), "batch_size": 64, "weight_decay": 0.2})
        for step in range(1, n_reports + 1):
            study.report(number, {"pairs_seen": PAIRS_A_REPORT * step, METRIC: step / 10}, METRIC)
        trial.started, trial.ended = 10.0, 100.0
        trial.checkpoint, trial.checkpoint_pairs = f"session-1/trial-{number}", trial.pairs_seen
        version = tmp_path / trial.checkpoint
        version.mkdir(parents=True)
        (version / "progress.json").write_text(json.dumps({"pairs_seen": trial.pairs_seen}))
        (version / "state.safetensors").write_bytes(bytes(200_000))
        study.finish(number, "COMPLETE" if n_reports == 9 else "PRUNED", "")
    return study


def attempts(study: Study, *of_the_first: Attempt) -> dict[str, list[Attempt]]:
    whole = Attempt(10.0, 0, {1: 11.0})
    return {name_of(study[0].params): list(of_the_first), name_of(study[1].params): [whole]}


def begun(since: float, start: int, reached: int) -> Attempt:
    return Attempt(since, start, {step: since + step for step in range(start + 1, reached + 1)})


def test_a_study_with_nothing_wrong(study: Study, tmp_path: Path) -> None:
    assert list(wrong_in_study(study, 2, tmp_path)) == []
    assert list(wrong_in_comparison(study, study)) == []


def test_a_missing_trial_a_hole_and_an_old_version(study: Study, tmp_path: Path) -> None:
    del study[0].values[300]
    (tmp_path / "session-1" / "trial-1" / "progress.json").write_text('{"pairs_seen": 0}')
    found = "\n".join(wrong_in_study(study, 3, tmp_path))
    assert "the study has 2 trials instead of 3" in found
    assert "trial 0 has values at [100, 200, 400" in found
    assert "trial 1 ended at 100 pairs, but its version is of 0" in found


@pytest.mark.parametrize("reached", [1, 2, 3])
def test_a_rung_may_be_lost_to_a_kill(study: Study, reached: int) -> None:
    two = attempts(study, begun(10.0, 0, reached), begun(30.0, 1 if reached > 1 else 0, 9))
    assert list(wrong_in_work(study, two, [Kill(25.0, 25.1)])) == []
    assert reports_lost(two) == max(1, reached - 1)


def test_only_a_kill_loses_and_at_most_one_rung(study: Study) -> None:
    two = attempts(study, begun(10.0, 0, 4), begun(30.0, 1, 9))
    (found,) = wrong_in_work(study, two, [Kill(25.0, 25.1)])
    assert found == "trial 0 lost more than a rung: report 4 was started, it resumed after 1"
    two = attempts(study, begun(10.0, 0, 3), begun(30.0, 1, 9))
    kills = [Kill(5.0, 9.9), Kill(45.0, 45.1)]
    assert list(wrong_in_work(study, two, kills)) == ["trial 0 was started twice without a kill"]


def test_a_worker_may_start_a_trial_just_after_its_driver_died(study: Study) -> None:
    two = attempts(study, begun(10.0, 0, 1), begun(30.0, 0, 9))
    assert list(wrong_in_work(study, two, [Kill(9.9, 12.0)])) == []


def test_work_after_the_end_or_of_nobody(study: Study) -> None:
    late = attempts(study, begun(95.0, 0, 9)) | {"nobody": [begun(1.0, 0, 1)]}
    found = list(wrong_in_work(study, late, []))
    assert found[0] == "trial 0 was trained after its end"
    assert found[1] == "the study lacks a trial that was trained: nobody"


def test_a_changed_end_is_a_violation(study: Study) -> None:
    ends = Ends()
    study[1].state = "RUNNING"
    for _ in range(2):
        ends.look(study)
    study.finish(1, "PRUNED")
    ends.look(study)
    assert ends.violations == []
    again = replace(study[0], values={**study[0].values, 900: 0.91})
    ends.look(Study(None, "max", [again, replace(study[1], state="RUNNING")]))
    other, back = ends.violations
    assert other.startswith("trial 0 ended as ('COMPLETE', ")
    assert "900: 0.91" in other.partition("later it was")[2]
    assert back.endswith("later it was running")
    ends.violations.clear()
    ends.look(Study(None, "max", []))
    assert ends.violations[0].endswith("later it was running")


def test_another_value_and_another_winner(study: Study) -> None:
    other = Study(None, "max", [replace(study[0], values={100: 0.01}), study[1]])
    found = list(wrong_in_comparison(other, study))
    assert found[0].startswith("trial 0 is ({'learn_rate': 0.1")
    assert found[1] == "the winner is trial 1, undisturbed trial 0"


def test_the_log_is_read_attempt_by_attempt(tmp_path: Path) -> None:
    note = {"trial": "t", "attempt": "b", "pid": 1}
    lines = [
        note | {"what": "taken up", "step": 1, "at": 20.0},
        note | {"attempt": "a", "what": "taken up", "step": 0, "at": 10.0},
        note | {"attempt": "a", "what": "begun", "step": 1, "at": 11.0},
        note | {"what": "begun", "step": 2, "at": 21.0},
    ]
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_attempts(tmp_path / "log") == {
        "t": [Attempt(10.0, 0, {1: 11.0}), Attempt(20.0, 1, {2: 21.0})]
    }


def test_faults_are_drawn_by_seed_in_their_order() -> None:
    faults = draw(EACH_ONCE, 60, random.Random(1))
    assert faults == draw(EACH_ONCE, 60, random.Random(1))
    assert faults != draw(EACH_ONCE, 60, random.Random(2))
    assert {kind: sum(fault.kind == kind for fault in faults) for kind in KINDS} == EACH_ONCE
    assert [fault.after for fault in faults] == sorted(fault.after for fault in faults)
