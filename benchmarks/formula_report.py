"""What training on a formula reports, where trials are to take a known time and compute nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from themo.config.settings import Settings


@dataclass(frozen=True)
class FormulaReport:
    """Enough of `themo.training.loop.Report` for a search.

    Attributes:
        metrics: As a report's.
        is_last: As a report's.
        settings: Of the trial.
        n_bytes: Size of what stands for the weights in a version.
    """

    metrics: dict[str, float]
    is_last: bool
    settings: Settings
    n_bytes: int = 0

    def save(self, folder: Path) -> None:
        """Write a version of a few files; ``progress.json`` holds the metrics, for who goes on from it."""
        folder.mkdir()
        (folder / "config.yaml").write_text(self.settings.to_yaml())
        (folder / "state.safetensors").write_bytes(bytes(self.n_bytes))
        (folder / "progress.json").write_text(json.dumps(self.metrics))
