"""The teacher of a version: named in the version's settings, checked against the student's dimension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from themo.config.presets import MINIATURE
from themo.config.settings import Settings
from themo.data.sources import Sources, miniature_is_built
from themo.errors import InputError
from themo.models.teacher_names import fingerprint
from themo.process.output import typed

if TYPE_CHECKING:
    from torch import Tensor

    from themo.models.teacher import Teacher


@dataclass(frozen=True)
class VersionTeacher:
    """The teacher of a version before it is loaded.

    Attributes:
        version: The version directory.
        settings: The version's settings, with the cache that holds the teacher.
        dimension: Length of the student's vectors.
    """

    version: Path
    settings: Settings
    dimension: int

    def load(self, device: str) -> Teacher:
        """Load the teacher.

        Args:
            device: torch device.

        Raises:
            InputError: The teacher is missing, cannot be loaded or has another dimension than the student.
        """
        from themo.models.teacher import Teacher  # slow to import

        teacher = Teacher.load(*self._names, device)
        self.refuse_other_dimension(teacher.dimension(self.settings.teacher.target))
        return teacher

    @property
    def fingerprint(self) -> str:
        """Return the cache key of the teacher's vectors, without loading the teacher.

        Raises:
            InputError: The teacher is missing.
        """
        return fingerprint(*self._names)

    def to_image_space(self, teacher: Callable[[], Teacher]) -> Tensor | None:
        """The affine map from student vectors to image space, (D + 1, E), bias last; None: the identity.

        Args:
            teacher: Returns the loaded teacher; called once, then the map is in the cache.

        Raises:
            InputError: The teacher is missing, or has another dimension than the student.
        """
        target = self.settings.teacher.target
        if self.settings.data.targets is not None or target != "state":
            return None
        import numpy as np
        import torch

        from themo.models.image_vectors import map_to_image_space

        path = map_to_image_space(Sources(self.settings).cache, self.fingerprint, target, teacher)
        mapping = torch.from_numpy(np.load(str(path), allow_pickle=False))
        self.refuse_other_dimension(len(mapping) - 1)
        return mapping

    def refuse_other_dimension(self, dimension: int) -> None:
        """Refuse a teacher whose target has another dimension than the student's vectors.

        Raises:
            InputError: The dimensions differ.
        """
        if dimension != self.dimension:
            raise InputError(
                f"{self.version}: the student's vectors must have the teacher's {dimension} dimensions, "
                f"got {self.dimension}"
            )

    @property
    def _names(self) -> tuple[str, str | None]:
        settings, sources = self.settings, Sources(self.settings)
        if settings.data.targets is not None:
            raise InputError(
                f"{self.version}: must have a teacher with an image tower, but was trained on data.targets "
                f"{settings.data.targets}"
            )
        names = settings.teacher.architecture, settings.teacher.pretrained
        of_miniature = any(name and name.startswith(MINIATURE) for name in names)
        if of_miniature and not miniature_is_built(settings):
            # a teacher built on another machine may differ, and the student's vectors belong to this one's
            # space
            cache = settings.paths.cache_dir
            build = typed("prepare", "--config", self.version / "config.yaml", "--cache-dir", Path(cache))
            raise InputError(
                f"{self.version}: its teacher {names[0]} must be in the cache of the training run, but "
                f"{cache} does not contain it (cache_dir); on the machine of that run `{build}` builds it "
                "again"
            )
        return sources.teacher(*names)
