"""Records the reports of a search's trials, and wakes the thread that sends them to MLflow."""

from __future__ import annotations

import time
from typing import Any

from ray.tune import Callback

from themo.tracking.runs import Tracking
from tune.results.run_tags import run_name
from tune.study.reports import ReportLog
from tune.study.study import Study
from tune.worker.trial_report import read_report


class MlflowRuns(Callback):  # type: ignore[misc]  # Ray has no types
    """Ray callback that records the reports of a stage.

    Args:
        record: The trials of the stage.
        log: Log file of all reports.
        tracking: Thread that sends to MLflow.
    """

    def __init__(self, record: Study, log: ReportLog, tracking: Tracking) -> None:
        self._record = record
        self._log = log
        self._tracking = tracking

    def on_trial_result(self, *, result: dict[str, Any], **_: object) -> None:
        """Append a report to the log."""
        report = read_report(result)
        if report.metrics:
            self._log.append(run_name(self._record[report.number]), int(time.time() * 1000), report.metrics)
        self._tracking.wake()

    def on_trial_start(self, **_: object) -> None:
        """Send the start of a trial, or its end, to MLflow."""
        self._tracking.wake()

    on_trial_complete = on_trial_error = on_trial_start
