"""The source of an export: a finished version, its record and its student in image space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from themo.checkpoints.version_teacher import VersionTeacher
from themo.checkpoints.versions import TEST_FILE, load_part, read_summary, settings_here
from themo.config.benchmarks import BenchmarkSettings
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
        version: The version directory.
        settings: Settings of its run.
        summary: Content of its ``summary.json``.
        scores: Content of its ``test.json``; None if it was not tested.
        trained: The student as it was trained.
        tokenizer: The student's tokenizer.
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
            overrides: Settings by leaf name that replace the run's, such as another cache.

        Raises:
            InputError: The folder is no version directory, its run is not finished, or a file is damaged.
        """
        settings = settings_here(version, overrides)
        refuse_unfinished(version)
        summary = read_summary(version)
        scores = _read_scores(version / TEST_FILE)
        # the test may have used other test sets than the run's
        if scores is not None and "benchmarks" in scores:
            settings = settings.model_copy(update={"benchmarks": scores["benchmarks"]})
        return cls(version, settings, summary, scores, *load_part(version, "student", load_student))

    @property
    def has_teacher(self) -> bool:
        """Whether the student's space has images; False for a student of the user's vectors."""
        return self.settings.data.targets is None

    @cached_property
    def teacher(self) -> Teacher:
        """Load the version's teacher on the CPU.

        Raises:
            InputError: The teacher cannot be loaded, or the version has none.
        """
        return VersionTeacher(self.version, self.settings, self.trained.head.dimension).load("cpu")

    @cached_property
    def student(self) -> Student:
        """Return the student with vectors in the teacher's image space.

        For a student of text states, the teacher's text projection is merged into the student's. A student of
        the user's vectors stays in their space.

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
    """Merge an affine map into a student's projection; the backbone is shared.

    Args:
        student: Student of D dimensions.
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
            f"{path}: is not a valid test record; `test --version-path {path.parent}` writes a new one"
        ) from None
    return scores
