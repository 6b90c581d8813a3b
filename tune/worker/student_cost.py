"""The second objective of a trial: the cost of its student, measured before the training."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import torch

from themo.config.settings import Settings
from themo.data.dataset import EncodedPairs, TrainingData
from themo.models.cost import N_ALONE, megabytes, milliseconds_alone
from themo.models.student import Student, save_student
from themo.models.tokens import Tokenizer
from themo.training.loop import build_student
from tune.space.search_settings import SecondObjective


def student_cost(settings: Settings, data: TrainingData, second: SecondObjective) -> float:
    """Return the cost of the student of some settings, on a CPU; training does not change it.

    Args:
        settings: Settings of a trial.
        data: Data of the trial, whose held-out sentences are encoded.
        second: ``mb``: MB of the files that a version stores, exact. ``ms``: milliseconds of one text alone
            on one thread, the median of `N_ALONE`. Both by the code of ``test --sizes``.

    Raises:
        InputError: The student cannot be built from the settings.
    """
    student, tokenizer = build_student(settings, data).eval(), Tokenizer.load(data.backbone_files)
    return _mb(student, tokenizer) if second == "mb" else _ms(student, tokenizer, data.validation)


def _mb(student: Student, tokenizer: Tokenizer) -> float:
    with tempfile.TemporaryDirectory(prefix="themo-student-") as name:
        save_student(Path(name), student.state_dict(), student.head, student.backbone.config, tokenizer)
        return megabytes(*Path(name).iterdir())


def _ms(student: Student, tokenizer: Tokenizer, pairs: EncodedPairs) -> float:
    ends = pairs.offsets[: N_ALONE + 1]
    rows = [pairs.ids[start:end].tolist() for start, end in pairwise(ends)]
    texts = [tokenizer.inner.decode(row, skip_special_tokens=True) for row in rows]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return milliseconds_alone(lambda texts: student.encode(tokenizer, texts), texts)
    finally:
        torch.set_num_threads(threads)
