"""Conditions that settings and data must meet before a student is trained, checked without torch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from themo.checkpoints.versions import read_progress
from themo.config.sections import LossSettings
from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.errors import InputError
from themo.models.backbones import adapted_config, refuse_length


def refuse_unfit(settings: Settings, data: TrainingData, resume: Path | None = None) -> None:
    """Refuse settings and data that `train` cannot run, before a GPU is booked.

    Args:
        settings: Settings of the run.
        data: Training data.
        resume: Version directory of an unfinished run; None: a new run.

    Raises:
        InputError: The backbone does not take the student's settings, a nested width is above the dimension,
            a batch is larger than the corpus, or `resume` is finished or was begun with other pairs or
            teacher vectors.
    """
    student, training = settings.student, settings.training
    config = adapted_config(
        data.backbone_files,
        hidden_size=student.hidden_size,
        hidden_layers=student.hidden_layers,
        dropout=student.dropout,
    )
    refuse_length(data.backbone, config, student.max_length)
    refuse_wide(settings.loss, data)
    n_pairs = min(len(data.train), data.pairs_an_epoch)
    if training.batch_size > n_pairs:
        raise InputError(
            f"training.batch_size must be at most the {n_pairs:,} training pairs, got {training.batch_size:,}"
        )
    if resume is None:
        return
    progress = read_progress(resume)
    begun_with = progress.get("corpus")
    if None not in (begun_with, data.corpus) and begun_with != data.corpus:
        raise InputError(
            f"{resume}: was started with other sentence pairs: a corpus has changed, or the test captions "
            "that are removed from it; restore them, or start a new run"
        )
    begun_with = progress.get("targets")
    if None not in (begun_with, data.targets) and begun_with != data.targets:
        raise InputError(
            f"{resume}: was started with other teacher vectors: the teacher or the file of data.targets has "
            "changed; restore it, or start a new run"
        )
    step, stale, total_steps = (
        progress.get("step", 0),
        progress.get("stale", 0),
        count_steps(settings, data)[1],
    )
    if step >= total_steps:
        raise InputError(f"{resume}: is finished, {step} of {total_steps} steps are done")
    if training.patience is not None and stale >= training.patience:
        raise InputError(f"{resume}: is finished, it stopped early at step {step}")


def refuse_wide(settings: LossSettings, data: TrainingData) -> None:
    """Refuse a nested width above the dimension of the vectors.

    Raises:
        InputError: A width is above the dimension.
    """
    dimension = data.dimension
    if data.to_image_space is not None:
        dimension = np.load(data.to_image_space, mmap_mode="r", allow_pickle=False).shape[1]
    widest = max(settings.nested_widths or (0,))
    if widest > dimension:
        raise InputError(
            f"loss.nested_widths must be at most the {dimension} dimensions of the teacher's vectors, "
            f"got {widest}"
        )


def count_steps(settings: Settings, data: TrainingData) -> tuple[int, int]:
    """Return the number of steps of an epoch, and of all epochs."""
    config = settings.training
    steps_an_epoch = math.ceil(data.pairs_an_epoch / config.batch_size)
    return steps_an_epoch, max(1, round(config.epochs * steps_an_epoch))
