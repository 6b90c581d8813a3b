"""Functions that the driver names and a worker runs, such as the one that Ray calls for each trial.

The worker imports torch and the training code, and the driver does not: half of a worker's memory. Each
import comes before the clock of the first trial starts, so that a trial's time is training time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.process.garbage import uncollected
from tune.worker.reporter import Report, report_to_tune
from tune.worker.work import Work


def run(config: dict[str, Any], *, work: Work) -> None:
    """Run one trial; called by Ray on a worker."""
    with uncollected():
        from tune.worker.trial import newest_checkpoint, run_trial

    run_trial(config, work, newest_checkpoint(config, work, report_to_tune), report_to_tune)


def train(
    settings: Settings,
    data: TrainingData,
    *,
    report: Callable[[Report], None],
    resume: Path | None = None,
) -> object:
    """Train a student by `themo.training.loop.train`, which `tune.worker.trial` has imported."""
    from themo.training.loop import train as train_student

    return train_student(settings, data, report=report, resume=resume)
