"""The formula on a storage that fails once: a file lies where the second checkpoint is to be a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from formula_training import FormulaReport
from formula_training import train as train_well
from ray.train._internal.session import get_session

from themo.config.settings import Settings
from themo.data.dataset import TrainingData


def train(
    settings: Settings,
    data: TrainingData,
    *,
    report: Callable[[FormulaReport], None],
    resume: Path | None = None,
) -> None:
    def told(each: FormulaReport) -> None:
        report(each)
        if resume is None and each.metrics["step"] == 1:
            storage = get_session().storage
            Path(storage.trial_fs_path, "checkpoint_000001").touch()

    train_well(settings, data, report=told, resume=resume)
