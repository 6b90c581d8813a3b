"""Facts of a run before it begins: device, precision, threads, size of the student, ceiling of validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from themo.config.settings import Settings
from themo.data.dataset import CaptionedImages, TrainingData
from themo.evaluation.metrics import hits_of_ranks, ranks_by_cosine, share

_BYTES_A_WEIGHT = 4
"""Weights are trained and saved in float32."""


def briefing(settings: Settings, data: TrainingData, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that `train` prints before the first step.

    Args:
        settings: Settings of the run.
        data: Training data of the run.
        facts: Facts from `on_begin` of `themo.training.loop.train`.
    """
    environment, parameters = facts["environment"], int(facts["parameters"])
    threads = environment["threads"]
    yield (
        f"Device:        {environment['device']}, {environment['precision']}, "
        f"{threads} CPU thread{'' if threads == 1 else 's'}"
    )
    yield f"Student:       {parameters:,} parameters, {parameters * _BYTES_A_WEIGHT / 1e6:,.1f} MB"
    yield f"Ceiling:       {settings.objective} {_ceiling(settings, data)}"


def _ceiling(settings: Settings, data: TrainingData) -> str:
    match settings.objective:
        case "val/retrieval@01":
            value = None if data.images is None else retrieval_of_teacher(data.images)
            return "unknown" if value is None else f"{value:.4f}, of the teacher with English captions"
        case "val/loss":
            return "unknown: the lowest loss depends on its terms"
        case _:
            return "1.0000, of the teacher's own vectors"


def retrieval_of_teacher(images: CaptionedImages) -> float | None:
    """Return the recall@1 of the teacher with the English captions; None if their vectors are unknown."""
    if images.english is None:
        return None
    texts_TE = torch.from_numpy(np.load(images.english, allow_pickle=False))
    vectors = images.captions.targets
    images_IE = torch.from_numpy(next(vectors.chunks(len(vectors))))
    image_of_caption_T = torch.from_numpy(np.array(images.captions.rows))
    return share(hits_of_ranks(ranks_by_cosine(texts_TE, images_IE, image_of_caption_T), 1))
