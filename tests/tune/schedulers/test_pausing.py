from __future__ import annotations

import math

import pytest

from tune.schedulers.pausing import PausingAsha
from tune.schedulers.rungs import Rungs
from tune.space.search_settings import SearchSettings
from tune.study.study import Study


def rule_of(**search: int) -> PausingAsha:
    return PausingAsha(Rungs(100, 3.0), SearchSettings(**search))


RULE = rule_of(num_samples=100)


def arrive(study: Study, value: float, pairs: int = 100, number: int | None = None) -> str:
    """A trial reaches a rung and pauses there with a checkpoint, or continues."""
    number = study.add({}).number if number is None else number
    before = study[number].pairs_seen
    study.report(number, {"pairs_seen": pairs, "o": value}, "o")
    state = RULE.explain(study, number, before).state
    if state != "RUNNING":
        study[number].checkpoint = "somewhere"
        study.finish(number, state)  # type: ignore[arg-type]
    return state


def test_the_paper_promotes_one_in_eta_and_the_best_first():
    study = Study(None, "max")
    assert [arrive(study, value) for value in (0.5, 0.4)] == ["PAUSED", "PAUSED"]
    assert RULE.next_paused(study) is None  # two at the rung: a third of them is none
    assert arrive(study, 0.3) == "PAUSED"
    assert RULE.next_paused(study) == 0  # one of three
    study.resume(0)
    assert RULE.next_paused(study) is None
    assert arrive(study, 0.1) == "PAUSED"
    assert arrive(study, 0.2) == "PAUSED"
    assert arrive(study, 0.1) == "PAUSED"
    assert RULE.next_paused(study) == 1  # two of six; it was refused when it came


def test_a_promotable_trial_continues_without_a_pause():
    study = Study(None, "max")
    arrive(study, 0.1)
    arrive(study, 0.2)
    assert arrive(study, 0.3) == "RUNNING"
    assert RULE.next_paused(study) is None


def test_the_highest_rung_comes_first():
    study = Study(None, "max")
    for number in range(3):
        arrive(study, 0.5)
        study[number].checkpoint = "somewhere"
        study[number].state = "RUNNING"
    assert arrive(study, 0.9, 300, 0) == "PAUSED"
    assert arrive(study, 0.8, 300, 1) == "PAUSED"
    for value in (0.95, 0.96, 0.1):
        study.finish(study.add({}).number, "PAUSED")
        study.report(len(study) - 1, {"pairs_seen": 100, "o": value}, "o")
        study[len(study) - 1].state, study[len(study) - 1].checkpoint = "PAUSED", "somewhere"
    assert RULE.next_paused(study) == 4  # of the first rung, 300 pairs have two only
    assert arrive(study, 0.1, 300, 2) == "PAUSED"
    assert RULE.next_paused(study) == 0


def test_a_trial_without_finite_report_is_pruned_and_uncounted():
    study = Study(None, "max")
    assert arrive(study, math.nan) == "PRUNED"
    assert [arrive(study, value) for value in (0.1, 0.2)] == ["PAUSED", "PAUSED"]
    assert study[0].state == "FAIL"


@pytest.mark.parametrize("mode", ["max", "min"])
def test_equal_trials_are_promoted_in_order_of_proposal(mode):
    study = Study(None, mode)
    for _ in range(6):
        arrive(study, 0.5)
    # the sixth made it two, the third one of three: the first of equals each time
    assert RULE.next_paused(study) == 0
    study.resume(0)
    assert RULE.next_paused(study) == 1


def test_at_the_end_the_best_of_each_rung_is_promoted():
    rule = rule_of(num_samples=2)
    study = Study(None, "max")
    arrive(study, 0.2)
    arrive(study, 0.4)
    assert rule.next_paused(study) == 1
    study.resume(1)
    assert rule.next_paused(study) is None
    assert RULE.next_paused(study) is None  # a third trial may still come


def test_a_search_without_gain_promotes_the_best_too():
    rule = rule_of(num_samples=100, stop_after_no_gain=2)
    study = Study(None, "max")
    arrive(study, 0.2)
    arrive(study, 0.4)
    assert rule.next_paused(study) is None
    for _ in range(2):
        study.finish(study.add({}).number, "FAIL", "diverged")
    assert rule.next_paused(study) == 1


def test_a_trial_that_failed_holds_no_place():
    rule = rule_of(num_samples=3)
    study = Study(None, "max")
    for value in (0.5, 0.4, 0.3):
        arrive(study, value)
    study.resume(0)
    study[0].verdict = "FAIL"  # it diverged; its last word is on its way
    assert rule.next_paused(study) is None
    study.finish(0, "FAIL", "diverged")
    assert rule.next_paused(study) == 1


def test_a_running_trial_may_still_improve():
    rule = rule_of(num_samples=3)
    study = Study(None, "max")
    arrive(study, 0.2)
    arrive(study, 0.4)
    study.add({})
    assert rule.next_paused(study) is None


def test_a_trial_left_waiting_resumes_in_an_enlarged_search():
    study = Study(None, "max")
    arrive(study, 0.5)
    arrive(study, 0.4)
    study.finish(0, "PRUNED")
    study.finish(1, "PRUNED")
    arrive(study, 0.1)
    assert RULE.next_paused(study) == 0
    study[0].checkpoint = None  # a trial of another search has no checkpoint to resume from
    assert RULE.next_paused(study) is None


def test_a_report_beyond_its_rung_has_a_rank_there():
    study = Study(None, "max")
    for value in (0.5, 0.4, 0.3):
        assert arrive(study, value, pairs=104) == "PAUSED"
    found = RULE.explain_waiting(study, 1)
    assert (found.where, found.value, found.rank) == ("rung of 100 pairs", 0.4, 2)
    assert found.compared == {0: 0.5, 2: 0.3}


def test_the_last_trial_passes_a_rung_without_a_pause():
    study = Study(None, "max")
    study.report(study.add({}).number, {"pairs_seen": 100, "o": 0.5}, "o")
    assert rule_of(num_samples=1).explain(study, 0, 0).state == "RUNNING"
    assert rule_of(num_samples=2).explain(study, 0, 0).state == "PAUSED"
