"""Adapter of the record to Ray Tune: a scheduler that records reports and stops trials.

Ray's own ASHA forgets its rungs when a search is resumed. This adapter decides from the record
(`tune.study.study`) alone; to Ray, a paused trial has ended (`tune.driver.searcher`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from themo.process.progress import console
from tune.driver.stoppers import Breakdown
from tune.schedulers.decisions import decide
from tune.schedulers.rules import scheduler_of
from tune.space.search_space import Space
from tune.study.resource import amount_of, progress_in_words
from tune.study.study import Study
from tune.study.trial_record import State, Trial
from tune.study.work_time import sessions
from tune.worker.memory import larger_share
from tune.worker.trial_report import TrialReport, read_report


class _Transition(NamedTuple):
    """The state that a report leads its trial to, once its last checkpoint is written.

    Attributes:
        state: RUNNING: the trial starts again from that checkpoint.
        reason: Reason for the state, in one line; empty for a complete trial.
        why: Explanation of the scheduler's decision, in one line; else empty.
        gpus: New number of GPUs, or fraction of a GPU, of the trial; None: unchanged.
    """

    state: State
    reason: str = ""
    why: str = ""
    gpus: float | None = None


class StudyScheduler(FIFOScheduler):  # type: ignore[misc]
    """Records every report and stops trials as the space's scheduler decides.

    Args:
        space: The search space.
        study: The record.
        objective: Name of the metric to optimize.
        breakdown: Counts reports and lost trials.
    """

    def __init__(self, space: Space, study: Study, objective: str, breakdown: Breakdown) -> None:
        super().__init__()
        self._breakdown = breakdown
        self._space = space
        self._study = study
        self._objective = objective
        self._scheduler = scheduler_of(space.search, space)
        search = space.search
        study.limit(search.num_samples, search.stop_after_no_gain, search.stop_gain, search.stop_chance)
        self._session = max(sessions(study), default=0) + 1
        self._taken_up: dict[int, tuple[float, float]] = {}
        self._given_up: set[str] = set()
        self._handed_out: dict[str, int] = {}

    def on_trial_result(self, tune_controller: object, trial: RayTrial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Record a report and decide whether the trial continues."""
        report = read_report(result)
        record = self._study[report.number]
        if report.waits:
            return str(TrialScheduler.CONTINUE)
        if record.verdict or record.is_done:
            return str(TrialScheduler.STOP)
        self._enter(record, report)
        transition = self._transition(record, report)
        if transition is None:
            return str(TrialScheduler.CONTINUE)
        self._study.decide(record.number, transition.state, transition.reason, transition.why)
        if transition.gpus is not None:
            record.gpus = record.least_gpus = transition.gpus
            console.print(f"Trial {record.number}: {record.reason}")
        return str(TrialScheduler.STOP)

    def _enter(self, record: Trial, report: TrialReport) -> None:
        """Record time, machine, session and GPU memory of an attempt at a trial."""
        record.reason = ""
        record.enter_attempt(report.started, report.ended, report.machine, self._session)
        if record.gpus == 1 and report.gpu_memory is not None:
            record.gpu_memory = max(record.gpu_memory or 0.0, report.gpu_memory)
        record.seconds = self._seconds_before(record, report.started) + report.seconds

    def _transition(self, record: Trial, report: TrialReport) -> _Transition | None:
        """The state that a report leads its trial to; None: the trial continues."""
        if report.failure:
            transition = _Transition("FAIL", report.failure)
            if report.is_memory_fault:
                transition = _after_memory_fault(report.failure, record.gpus or 0.0)
            if report.traceback and transition.state == "FAIL":  # a diverged trial has none
                self._breakdown.lose(report.number, report.machine)
            return transition
        search = self._space.search
        before = amount_of(record, search.resource)
        self._breakdown.report()
        self._study.report(report.number, report.metrics, self._objective)
        if report.is_last:
            return _Transition("COMPLETE")
        at = progress_in_words(record, search.resource)
        if search.is_spent(record.training_seconds):
            return _Transition("COMPLETE", f"its {search.trial_seconds:g} s ended at {at}")
        found = decide(self._scheduler, self._space, self._study, report.number, before)
        if found.state == "RUNNING":
            return None
        word = "paused" if found.state == "PAUSED" else "stopped"
        return _Transition(found.state, f"{word} at {at}", found.line)

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """The waiting trial that was suggested first, after reporting trials that Ray gave up silently.

        Ray gives up a trial when a worker does not release its previous trial; without this report the slot
        would remain occupied. Ray's own method scans all trials of the session.
        """
        live = list(tune_controller.get_live_trials())
        for trial in live:
            if trial.status == RayTrial.ERROR and trial.trial_id not in self._given_up:
                self._given_up.add(trial.trial_id)
                tune_controller.search_alg.on_trial_complete(trial.trial_id, error=True)
        waiting = [trial for trial in live if trial.status == RayTrial.PENDING]
        return min(waiting, key=lambda trial: self._handed_out[trial.trial_id], default=None)

    def on_trial_add(self, tune_controller: object, trial: RayTrial) -> None:  # noqa: ARG002
        """Note the order in which trials are suggested."""
        self._handed_out[trial.trial_id] = len(self._handed_out)

    def on_trial_error(self, tune_controller: object, trial: RayTrial) -> None:  # noqa: ARG002
        """Record why a worker died, then report it to the searcher."""
        account = _account(Path(trial.error_file))
        self._study[trial.config["number"]].reason = _reason(account)
        self._breakdown.lose(trial.config["number"], _address(account))

    def _seconds_before(self, record: Trial, started: float) -> float:
        """Training time before the current worker started the trial."""
        if self._taken_up.get(record.number, (None, 0))[0] != started:
            self._taken_up[record.number] = (started, record.checkpoint_seconds)
        return self._taken_up[record.number][1]


def _after_memory_fault(failure: str, had: float) -> _Transition:
    """A retry with a larger share of a GPU; failure if the trial had a whole GPU."""
    where = f"on {had:g} of a GPU" if had < 1 else "on a whole GPU" if had == 1 else f"on {had:g} GPUs"
    more = larger_share(had)
    if more is None:
        return _Transition("FAIL", f"{failure} {where}, even with the smallest microbatches")
    return _Transition("RUNNING", f"{failure} {where}, retried on {more:g}", gpus=more)


def _account(error_file: Path) -> str:
    """The last entry of Ray's error log of a trial."""
    text = error_file.read_text(encoding="utf-8") if error_file.is_file() else ""
    return text.rpartition("Failure # ")[2].strip()


def _reason(account: str) -> str:
    if "died unexpectedly" in account or not account:
        return "its worker died"
    return f"its worker failed: {account.splitlines()[-1]}"


def _address(account: str) -> str:
    """Address of the worker's machine, where Ray's error log names it; else empty."""
    found = re.search(r"\bip[=:] ?([0-9a-fA-F.:]+)", account)
    return found[1] if found else ""
