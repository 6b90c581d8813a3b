"""A trial's report on its way from a worker to the driver, as the flat result that Ray Tune carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

_METRICS = "report/"


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """A report as it reaches the driver.

    Attributes:
        number: The trial.
        metrics: The training function's metrics.
        is_last: Whether the trial is over.
        failure: Why it failed, in a line; empty if it did not.
        is_memory_fault: Whether it failed because the device had no memory left.
        traceback: Where it failed; empty for a diverged one.
        seconds: Since the worker took up the trial.
        started, ended: Unix time, on the worker, when it took up the trial and of this report.
        machine: Name of the machine that the worker runs on.
        gpu_memory: What it took of its GPU's memory at its peak since then, as a share of all.
        waits: Why the worker cannot go on for now, which is all that it reports then; else empty.
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
        """As a result of Ray Tune."""
        result = asdict(self)
        metrics = result.pop("metrics")
        return result | {_METRICS + name: value for name, value in metrics.items()}


def read_report(result: Mapping[str, Any]) -> TrialReport:
    """A report from a result of Ray Tune, among whose own entries it stands."""
    metrics = {k.removeprefix(_METRICS): float(v) for k, v in result.items() if k.startswith(_METRICS)}
    own = {field.name: result[field.name] for field in fields(TrialReport) if field.name != "metrics"}
    return TrialReport(metrics=metrics, **own)
