"""The result of a training run, as `themo.train` returns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from themo.checkpoints.versions import Metrics, read_progress, read_settings, read_summary
from themo.process.devices import Device

if TYPE_CHECKING:
    from themo.model import Model


@dataclass(frozen=True, repr=False)
class BestStudent:
    """The best student of a run or of a search.

    Attributes:
        version: Version directory of the student.
        score: Best value of the objective.
        metrics: Validation metrics by name, such as ``val/match@01``.
        settings: Settings by leaf name: all of a run, the searched ones of a search.
        number: Number of its trial; None outside a search.
    """

    version: Path
    score: float
    metrics: Mapping[str, float]
    settings: Mapping[str, Any]
    number: int | None = None

    def __repr__(self) -> str:
        trial = "" if self.number is None else f"trial {self.number}, "
        return f"<themo.BestStudent {str(self.version)!r}: {trial}score {self.score:.4f}>"

    def load(self, *, device: Device = "auto") -> Model:
        """The student as `themo.load` returns it.

        Raises:
            InputError: The version directory is gone or damaged, or there is no such device.
        """
        from themo.model import load

        return load(self.version, device=device)


@dataclass(frozen=True, repr=False)
class TrainResult:
    """The result of a training run.

    Attributes:
        version: The version directory.
        state: ``finished``, or ``stopped early``: by `patience`, or by the callback.
        objective: Name of the metric that decides which student is best.
        reports: Metrics of every report, in their order.
        best: The best student.
    """

    version: Path
    state: str
    objective: str
    reports: list[Metrics]
    best: BestStudent

    def __repr__(self) -> str:
        best = f"best {self.objective} {self.best.score:.4f}"
        return f"<themo.TrainResult {str(self.version)!r}: {best}, {self.state}>"


def read_result(version: Path) -> TrainResult:
    """The result of the run that wrote a version directory.

    Raises:
        InputError: The folder is not a version directory, or is damaged.
    """
    summary, settings = read_summary(version), read_settings(version)
    objective, metrics = str(summary["objective"]), dict(summary["best"])
    best = BestStudent(version, metrics[objective], metrics, settings.leaves())
    return TrainResult(version, str(summary["state"]), objective, read_progress(version)["reports"], best)
