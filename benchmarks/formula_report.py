"""Reports of trials that compute a formula instead of training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from themo.config.settings import Settings


@dataclass(frozen=True)
class FormulaReport:
    """The part of `themo.training.loop.Report` that a search needs.

    Attributes:
        metrics: Metrics of the report.
        is_last: Whether the trial has ended.
        settings: Settings of the trial.
        n_bytes: Size of the file that replaces the weights in a version.
    """

    metrics: dict[str, float]
    is_last: bool
    settings: Settings
    n_bytes: int = 0

    def save(self, folder: Path) -> None:
        """Write a version of a few files; ``progress.json`` has the metrics, for a resumed trial."""
        folder.mkdir()
        (folder / "config.yaml").write_text(self.settings.to_yaml())
        (folder / "state.safetensors").write_bytes(bytes(self.n_bytes))
        (folder / "progress.json").write_text(json.dumps(self.metrics))
