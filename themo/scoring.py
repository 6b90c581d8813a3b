"""Scores a version on images: which encoders, on which test sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from themo.benchmarks import ENGLISH, ImageNet, Xtd10
from themo.config import Settings
from themo.devices import resolve_device
from themo.errors import InputError
from themo.evaluation import ACCURACY, CEILING, RETRIEVAL, STUDENT, Row, Scores, evaluate
from themo.image_vectors import image_vectors
from themo.sources import Sources
from themo.student import load_student
from themo.teacher import Teacher
from themo.versions import find_part

Task = Literal["all", "retrieval", "accuracy"]
FLOOR = "teacher_es"
"""The teacher's own text tower fed Spanish: what one has without a student."""


def score_version(
    settings: Settings, version: Path | None, *, task: Task = "all", baseline: bool = False
) -> Scores:
    """Score a version's student beside the ceiling and, when asked, the baselines.

    Args:
        settings: Of the version, or of the world to test baselines in.
        version: Version directory; None: no student.
        task: Which test sets.
        baseline: Add a row for the teacher fed Spanish.

    Raises:
        InputError: The version is damaged, its student is of another teacher, or test data are missing.
    """
    sources = Sources(settings)
    xtd10, imagenet = _open_benchmarks(settings, sources, task)
    loaded = load_student(find_part(version, "student")) if version is not None else None
    if settings.data.targets is not None:
        raise InputError(
            f"{version}: must have a teacher to be tested on images, but it learnt data.targets "
            f"{settings.data.targets}"
        )
    teacher = Teacher.load(
        sources.resolve(settings.teacher.architecture),
        sources.resolve(settings.teacher.pretrained) if settings.teacher.pretrained else None,
        str(resolve_device(settings.training.device)),
    )

    def images(paths: Sequence[Path]) -> Tensor:
        vectors = image_vectors(sources.cache, teacher.fingerprint, paths, load=lambda: teacher)
        return torch.from_numpy(np.load(vectors, allow_pickle=False))

    rows = {}
    if loaded is not None:
        student, tokenizer = loaded
        target, expected = settings.teacher.target, teacher.dimension(settings.teacher.target)
        if student.head.dimension != expected:
            raise InputError(
                f"{version}: the student's vectors must have the teacher's {expected} dimensions, "
                f"got {student.head.dimension}"
            )
        student.to(teacher.device)

        def encode(texts: Sequence[str]) -> Tensor:
            return teacher.to_image_space(student.encode(tokenizer, texts), target)

        rows[STUDENT] = Row(encode, settings.benchmarks.language, images)

    def read(texts: Sequence[str]) -> Tensor:
        return torch.from_numpy(teacher.encode_texts(texts, "embedding"))

    rows[CEILING] = Row(read, ENGLISH, images)
    if baseline:
        rows[FLOOR] = Row(read, settings.benchmarks.language, images)
    return evaluate(rows, xtd10, imagenet)


def _open_benchmarks(
    settings: Settings, sources: Sources, task: Task
) -> tuple[Xtd10 | None, ImageNet | None]:
    config = settings.benchmarks
    xtd10 = imagenet = None
    if config.captions and config.images and task in ("all", RETRIEVAL):
        captions = sources.path(config.captions, "benchmarks.captions")
        xtd10 = Xtd10.open(captions, sources.path(config.images, "benchmarks.images"), config.language)
    if config.imagenet and config.prompts and task in ("all", ACCURACY):
        folder = sources.path(config.imagenet, "benchmarks.imagenet")
        imagenet = ImageNet.open(folder, sources.path(config.prompts, "benchmarks.prompts"))
    if xtd10 is None and imagenet is None:
        raise InputError(f"benchmarks: must name test data for --task {task}, they name none")
    return xtd10, imagenet
