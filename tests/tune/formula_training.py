"""A training function on a formula: real reports, versions and resumes, in no time.

The objective rises with the pairs seen towards a height that the settings determine; a seed other than 0 adds
noise. `weight_decay` above 0.5 diverges, `warmup_steps` of 13 kills the worker once, of 14 raises.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from themo.config.settings import Settings
from themo.data.dataset import TrainingData

REPORTS = 9
SECONDS_VARIABLE = "THEMO_TEST_REPORT_SECONDS"


@dataclass(frozen=True)
class FormulaReport:
    metrics: dict[str, float]
    is_last: bool
    settings: Settings

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "config.yaml").write_text(self.settings.to_yaml())
        (folder / "progress.json").write_text(json.dumps(self.metrics))


def height(settings: Settings) -> float:
    seed, rate = settings.training.seed, settings.training.learn_rate
    noise = 0.01 * math.sin(1e6 * rate + 7 * seed) if seed else 0.0
    return (1 + noise) / (1 + abs(rate - 1e-3) * 1000)


def train(
    settings: Settings,
    data: TrainingData,
    *,
    report: Callable[[FormulaReport], None],
    resume: Path | None = None,
) -> None:
    config = settings.training
    assert (data.train.folder / "ids.npy").read_bytes() == data.train.vectors.read_bytes()
    first = 1
    if resume is not None:
        first = 1 + int(json.loads((resume / "progress.json").read_text())["step"])
    for step in range(first, REPORTS + 1):
        time.sleep(float(os.environ.get(SECONDS_VARIABLE, "0")))
        if config.weight_decay > 0.5 and step == 2:
            raise FloatingPointError(f"loss is nan at step {step} (learn_rate={config.learn_rate:.1e})")
        if config.warmup_steps == 13 and step == 3 and resume is None:
            os._exit(1)
        if config.warmup_steps == 14:
            raise RuntimeError("a bug\nwith a second line")
        value = height(settings) * step / REPORTS
        metrics = {
            "pairs_seen": 100 * step,
            "step": step,
            "val/match@01": value,
            "best/val/match@01": value,
            "train/loss": 1 - value,
        }
        report(FormulaReport(metrics, step == REPORTS, settings))
