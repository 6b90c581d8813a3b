"""The state that each report leads its trial to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from simulation import space_of

from tune.driver.scheduler import StudyScheduler
from tune.driver.stoppers import Breakdown
from tune.schedulers.explanation import Explanation
from tune.study.study import Study
from tune.study.trial_record import State, Trial
from tune.worker.trial_report import TrialReport

FULL = "out of memory"


def send(
    scheduler: StudyScheduler, number: int, started: float = 0.0, seconds: float = 1.0, **facts: Any
) -> str:
    """Ray's decision after a worker's report, `seconds` after the worker `started` the trial."""
    report = TrialReport(
        number=number, seconds=seconds, started=started, ended=started + seconds, machine="here", **facts
    )
    ray_trial: Any = SimpleNamespace(config={})
    return scheduler.on_trial_result(None, ray_trial, report.to_result())


def entered(gpus: float = 0.0, **facts: Any) -> tuple[str, Trial, Breakdown]:
    """Ray's decision, the trial and the losses after a report of a trial that is under way."""
    study, breakdown = Study(None, "max"), Breakdown(lambda: 0)
    scheduler = StudyScheduler(space_of("asha", 99), study, "o", breakdown)
    for value in (0.9, 0.8, 0.7):  # that reached the first rung before
        study.report(study.add({}).number, {"pairs_seen": 100.0, "o": value}, "o")
    trial = study.add({})
    trial.gpus = gpus
    return send(scheduler, trial.number, **facts), trial, breakdown


@pytest.mark.parametrize(
    ("gpus", "facts", "verdict", "reason", "share"),
    [
        (0.0, {"metrics": {"pairs_seen": 50.0, "o": 0.1}}, "", "", 0.0),
        (0.0, {"metrics": {"pairs_seen": 200.0, "o": 0.1}, "is_last": True}, "COMPLETE", "", 0.0),
        (0.0, {"metrics": {}, "failure": "diverged: loss"}, "FAIL", "diverged: loss", 0.0),
        (
            0.5,
            {"metrics": {}, "failure": FULL, "traceback": "...", "is_memory_fault": True},
            "RUNNING",
            f"{FULL} on 0.5 of a GPU, retried on 1",
            1.0,
        ),
        (
            1.0,
            {"metrics": {}, "failure": FULL, "traceback": "...", "is_memory_fault": True},
            "FAIL",
            f"{FULL} on a whole GPU, even with the smallest microbatches",
            1.0,
        ),
        (0.0, {"metrics": {}, "waits": "room on a full disk"}, "", "", 0.0),
    ],
)
def test_report_leads_to_state(
    gpus: float, facts: dict[str, Any], verdict: str, reason: str, share: float
) -> None:
    decision, trial, _ = entered(gpus, **facts)
    assert decision == ("STOP" if verdict else "CONTINUE")
    assert (trial.verdict, trial.reason, trial.gpus) == (verdict, reason, share)
    assert trial.least_gpus == (share if verdict == "RUNNING" else 0.0)


@pytest.mark.parametrize(
    ("traceback", "is_memory_fault", "n_lost"), [("...", False, 1), ("", False, 0), ("...", True, 0)]
)
def test_only_failures_with_traceback_count_as_lost(
    traceback: str, is_memory_fault: bool, n_lost: int
) -> None:
    facts: dict[str, Any] = {"traceback": traceback, "is_memory_fault": is_memory_fault}
    *_, breakdown = entered(0.5, metrics={}, failure="it failed", **facts)
    assert str(breakdown).startswith(f"{n_lost} trials died or failed")


@pytest.mark.parametrize("state", ["PRUNED", "PAUSED"])
def test_rung_decides_state_and_reason(monkeypatch: pytest.MonkeyPatch, state: State) -> None:
    judged: list[int] = []

    class Rule:
        def explain(self, _study: Study, _number: int, before: int) -> Explanation:
            judged.append(before)
            return Explanation(state, 1_500, "rung of 1,000 pairs", 0.1, {7: 0.2}, 2, 0.2, "0.2 or more")

    monkeypatch.setattr("tune.driver.scheduler.scheduler_of", lambda *_: Rule())
    decision, trial, _ = entered(metrics={"pairs_seen": 1_500.0, "o": 0.1})
    word = "paused" if state == "PAUSED" else "stopped"
    assert (decision, trial.verdict, trial.reason) == ("STOP", state, f"{word} at 1,500 pairs")
    assert trial.why == "0.1000 at the rung of 1,000 pairs, rank 2 of 2; 0.2 or more"
    assert judged == [0]
    assert trial.values == {1_500: 0.1}


def test_report_after_a_decision_changes_nothing() -> None:
    study = Study(None, "max")
    scheduler = StudyScheduler(space_of("asha", 99), study, "o", Breakdown(lambda: 0))
    trial = study.add({})
    trial.verdict = "PRUNED"
    assert send(scheduler, 0, metrics={"pairs_seen": 9.0, "o": 1.0}) == "STOP"
    assert (trial.verdict, trial.values, trial.stints) == ("PRUNED", {}, [])


def test_lost_seconds_of_a_dead_worker_do_not_count() -> None:
    study = Study(None, "max")
    scheduler = StudyScheduler(space_of("none", 9), study, "o", Breakdown(lambda: 0))
    trial = study.add({})
    send(scheduler, 0, seconds=10.0, metrics={"pairs_seen": 100.0, "o": 0.1})
    trial.enter_checkpoint("session-1/x")
    send(scheduler, 0, seconds=15.0, metrics={"pairs_seen": 150.0, "o": 0.1})
    study.rewind(0)
    send(scheduler, 0, started=100.0, seconds=4.0, metrics={"pairs_seen": 150.0, "o": 0.1})
    assert trial.seconds == 10.0 + 4.0


def test_the_peak_of_gpu_memory_is_kept() -> None:
    study = Study(None, "max")
    scheduler = StudyScheduler(space_of("none", 9), study, "o", Breakdown(lambda: 0))
    trial = study.add({})
    trial.gpus = 1.0
    for step, share in enumerate((0.3, 0.6, 0.4), start=1):
        send(scheduler, 0, metrics={"pairs_seen": 100.0 * step, "o": 0.1}, gpu_memory=share)
    assert trial.gpu_memory == 0.6
