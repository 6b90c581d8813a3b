"""The formula with noise by seed, for confirmations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import formula_training
import numpy as np
from formula_training import FormulaReport

from themo.config.settings import Settings
from themo.data.dataset import TrainingData

NOISE = 0.01
"""Standard deviation of a score between seeds."""


def train(
    settings: Settings,
    data: TrainingData,
    *,
    report: Callable[[FormulaReport], None],
    resume: Path | None = None,
) -> None:
    """As `formula_training.train`, with noise that settings and seed determine."""
    rate = round(settings.training.learn_rate * 1e9)
    noise = float(np.random.default_rng((settings.training.seed, rate)).normal(scale=NOISE))

    def noisy(plain: FormulaReport) -> None:
        value = plain.metrics["val/match@01"] * (1 + noise)
        metrics = plain.metrics | {"val/match@01": value, "best/val/match@01": value}
        report(FormulaReport(metrics, plain.is_last, plain.settings))

    formula_training.train(settings, data, report=noisy, resume=resume)
