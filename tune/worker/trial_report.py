"""A trial's report to the driver, and its conversion to and from Ray Tune's flat results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

_METRICS = "report/"


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """A report of a worker to the driver.

    Attributes:
        number: The trial.
        metrics: The training function's metrics.
        is_last: Whether the trial has ended.
        failure: One line about the failure; empty if the trial did not fail.
        is_memory_fault: Whether the trial failed because its device ran out of memory.
        traceback: Traceback of the failure; empty for a diverged trial.
        seconds: Seconds since the worker started the trial.
        started, ended: Unix time on the worker, of the trial's start and of this report.
        machine: Name of the worker's machine.
        gpu_memory: Peak share of the GPU's memory since the start.
        waits: Reason why the worker waits, in a report without metrics; else empty.
    """

    number: int
    metrics: Mapping[str, float]
    is_last: bool = False
    failure: str = ""
    is_memory_fault: bool = False
    traceback: str = ""
    seconds: float
    started: float
    ended: float
    machine: str
    gpu_memory: float | None = None
    waits: str = ""

    def to_result(self) -> dict[str, Any]:
        """The report as a result of Ray Tune."""
        result = asdict(self)
        metrics = result.pop("metrics")
        return result | {_METRICS + name: value for name, value in metrics.items()}


def read_report(result: Mapping[str, Any]) -> TrialReport:
    """The report in a result of Ray Tune, without Ray's own entries."""
    metrics = {k.removeprefix(_METRICS): float(v) for k, v in result.items() if k.startswith(_METRICS)}
    own = {field.name: result[field.name] for field in fields(TrialReport) if field.name != "metrics"}
    return TrialReport(metrics=metrics, **own)
