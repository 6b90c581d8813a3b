"""A training function that needs the share of a GPU that `weight_decay` names, or a larger one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from formula_training import REPORTS, FormulaReport
from ray import tune as ray_tune

from themo.config.settings import Settings
from themo.data.dataset import TrainingData


def train(
    settings: Settings,
    data: TrainingData,
    *,
    report: Callable[[FormulaReport], None],
    resume: Path | None = None,
) -> None:
    """Allocate the memory after a third of the trial, at a checkpoint."""
    share = ray_tune.get_context().get_trial_resources().required_resources["GPU"]
    first = 1 if resume is None else 1 + int(json.loads((resume / "progress.json").read_text())["step"])
    for step in range(first, REPORTS + 1):
        time.sleep(0.02)
        if step > REPORTS // 3 and share < settings.training.weight_decay:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")
        metrics = {"pairs_seen": 100 * step, "step": step, "val/match@01": step / 10, "share": share}
        metrics["begun"] = first
        report(FormulaReport(metrics, step == REPORTS, settings))


def train_beside_another(
    settings: Settings,
    data: TrainingData,
    *,
    report: Callable[[FormulaReport], None],
    resume: Path | None = None,
) -> None:
    """Like `train`, but trials that share a GPU wait for each other, so that two run at once."""
    if ray_tune.get_context().get_trial_resources().required_resources["GPU"] < 1:
        folder = Path(settings.paths.logs_dir) / "come"
        folder.mkdir(exist_ok=True)
        (folder / str(os.getpid())).touch()
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.02)
    train(settings, data, report=report, resume=resume)


def take_a_fifth() -> float:
    """Share of the GPU's memory that a trial takes, without a GPU."""
    return 0.2
