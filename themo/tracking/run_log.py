"""One run in MLflow, as the program that logs it sees it: each call is a record and waits for nobody."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from themo.tracking.names import metric_name

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run ends in MLflow; KILLED is a trial that was stopped early, or an interrupted run."""


class Queue(Protocol):
    """The records of an experiment; `themo.tracking.runs.Tracking`."""

    def put(self, record: dict[str, Any]) -> None:
        """Add a record."""

    def run_id(self, run: RunLog) -> str | None:
        """MLflow's id of a run."""

    def relative(self, path: Path) -> str:
        """A file's path as records hold it."""


class RunLog:
    """One run. All methods return at once; they take effect in the order of their calls."""

    def __init__(self, tracking: Queue, key: str) -> None:
        self._tracking = tracking
        self.key = key

    @property
    def run_id(self) -> str | None:
        """MLflow's id, known once the run has begun; see `Tracking.flush`."""
        return self._tracking.run_id(self)

    def report(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics, the finite ones, at a step later than those before.

        Searches and training count steps in sentence pairs. A run keeps the first report of a step: a trial
        that resumes from a checkpoint repeats the reports after it.
        """
        self.log(do="report", metrics=loggable(metrics), step=step, at=now())

    def measure(self, metrics: Mapping[str, float]) -> None:
        """Log finite metrics that have no step, such as scores of a test: the last value counts."""
        self.log(do="measure", metrics=loggable(metrics), at=now())

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self.log(do="tag", tags=dict(tags))

    def replace_tags(self, prefix: str, tags: Mapping[str, str]) -> None:
        """Set tags, and remove all others whose names begin with `prefix`."""
        self.log(do="replace tags", prefix=prefix, tags=dict(tags))

    def artifact(self, content: Mapping[str, Any], file: str) -> None:
        """Keep a mapping as a JSON file of the run."""
        self.log(do="artifact", content=dict(content), file=file)

    def file(self, path: Path) -> None:
        """Keep a file as an artefact, as it is when it is sent, in place of one of the same name."""
        self.log(do="file", path=self._tracking.relative(path))

    def view(self, state: Mapping[str, Any]) -> None:
        """Keep a view of the experiment's page, `themo.tracking.comparison`, under the run's key."""
        self.log(do="view", state=dict(state))

    def finish(self, status: Status = "FINISHED") -> None:
        """End the run."""
        self.log(do="finish", status=status, at=now())

    def log(self, **record: Any) -> None:
        """Add a record of `themo.tracking.delivery`."""
        self._tracking.put({"run": self.key, **record})


def loggable(metrics: Mapping[str, float]) -> dict[str, float]:
    """The finite metrics by MLflow's names."""
    return {metric_name(name): float(v) for name, v in metrics.items() if math.isfinite(v)}


def plain(value: object) -> object:
    """A value as JSON holds it."""
    return value if isinstance(value, str | int | float | None) else str(value)


def now() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)
