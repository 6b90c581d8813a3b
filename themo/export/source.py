"""What an export is made from: a finished version, its record, and its student in the space of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from themo.checkpoints.version_teacher import VersionTeacher
from themo.checkpoints.versions import TEST_FILE, find_part, read_summary, settings_here
from themo.config.sections import BenchmarkSettings
from themo.config.settings import Settings
from themo.errors import InputError
from themo.evaluation.report.tables import read_scores
from themo.evaluation.score_names import STUDENT
from themo.export.refusals import refuse_unfinished
from themo.models.student import Student, load_student
from themo.models.teacher import Teacher
from themo.models.tokens import Tokenizer


@dataclass(frozen=True)
class Source:
    """A finished version.

    Attributes:
        version: Its directory.
        settings: As its run had them.
        summary: Its ``summary.json``.
        scores: Its ``test.json``; None where it was not tested.
        trained: The student as it was trained.
        tokenizer: The student's.
    """

    version: Path
    settings: Settings
    summary: Mapping[str, Any]
    scores: Mapping[str, Any] | None
    trained: Student
    tokenizer: Tokenizer

    @classmethod
    def open(cls, version: Path, overrides: Mapping[str, Any] | None = None) -> Source:
        """Read a version directory.

        Args:
            version: The directory.
            overrides: Settings by leaf name that are not those of the run, such as another cache.

        Raises:
            InputError: It is none, its run is not finished, or something in it is damaged.
        """
        settings = settings_here(version, overrides)
        refuse_unfinished(version)
        summary = read_summary(version)
        scores = _read_scores(version / TEST_FILE)
        if scores is not None and "benchmarks" in scores:  # the test may have been on others than the run's
            settings = settings.model_copy(update={"benchmarks": scores["benchmarks"]})
        return cls(version, settings, summary, scores, *load_student(find_part(version, "student")))

    @property
    def has_teacher(self) -> bool:
        """Whether there are images in the student's space: not where it learnt a user's own vectors."""
        return self.settings.data.targets is None

    @cached_property
    def teacher(self) -> Teacher:
        """The version's teacher, on the CPU.

        Raises:
            InputError: It cannot be loaded, or the version has none.
        """
        return VersionTeacher(self.version, self.settings, self.trained.head.dimension).load("cpu")

    @cached_property
    def student(self) -> Student:
        """The student whose vectors lie where the teacher's image vectors do.

        One that learnt the teacher's text states gets the teacher's text projection into its own. One that
        learnt a user's own vectors stays in their space.

        Raises:
            InputError: The teacher is needed and cannot be loaded.
        """
        if self.is_projected:
            return project(self.trained, self.teacher.text_projection())
        return self.trained

    @property
    def is_projected(self) -> bool:
        """Whether the teacher's text projection is part of `student`."""
        return self.has_teacher and self.settings.teacher.target == "state"


def project(student: Student, map_DE: Tensor) -> Student:
    """A student followed by an affine map; it shares the backbone.

    Args:
        student: Of D dimensions.
        map_DE: (D + 1, E), the bias in the last row.
    """
    matrix_DE, shift_E = map_DE[:-1].double(), map_DE[-1].double()
    weight_DH, bias_D = student.projection.weight.double(), student.projection.bias
    if bias_D is not None:
        shift_E = shift_E + bias_D.double() @ matrix_DE
    has_bias = bias_D is not None or bool(shift_E.any())
    head = replace(student.head, dimension=matrix_DE.shape[1], projection_bias=has_bias)
    projected = Student(student.backbone, head)
    projected.layer_norm = student.layer_norm
    with torch.no_grad():
        projected.projection.weight.copy_(matrix_DE.T @ weight_DH)
        if has_bias:
            projected.projection.bias.copy_(shift_E)
    return projected.eval()


def _read_scores(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    scores = read_scores(path)
    try:
        if "benchmarks" in scores:
            scores["benchmarks"] = BenchmarkSettings.model_validate(scores["benchmarks"])
        if STUDENT not in scores:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{path}: is no record of a version's test; `test --version-path {path.parent}` writes it anew"
        ) from None
    return scores
