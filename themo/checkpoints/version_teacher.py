"""The teacher of a version: named by its settings, and of the space that its student learnt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from themo.config.settings import Settings
from themo.config.worlds import MINIATURE
from themo.data.sources import Sources, miniature_is_built
from themo.errors import InputError
from themo.models.teacher_names import fingerprint

if TYPE_CHECKING:
    from themo.models.teacher import Teacher


@dataclass(frozen=True)
class VersionTeacher:
    """What is known of it before it is loaded.

    Attributes:
        version: The version directory.
        settings: Its own, with the cache where its teacher is looked for.
        dimension: Of its student's vectors.
    """

    version: Path
    settings: Settings
    dimension: int

    def load(self, device: str) -> Teacher:
        """Load it.

        Args:
            device: For torch.

        Raises:
            InputError: There is none, it cannot be loaded, or it is not of the student's dimension.
        """
        from themo.models.teacher import Teacher  # takes as long to import as all else

        teacher = Teacher.load(*self._names, device)
        self.refuse_other_dimension(teacher.dimension(self.settings.teacher.target))
        return teacher

    @property
    def fingerprint(self) -> str:
        """What its vectors are kept by; it is not loaded for that.

        Raises:
            InputError: There is none.
        """
        return fingerprint(*self._names)

    def refuse_other_dimension(self, dimension: int) -> None:
        """Refuse a teacher whose target has another dimension than the student's vectors.

        Raises:
            InputError: It has.
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
                f"{self.version}: must have a teacher to see images, but it learnt data.targets "
                f"{settings.data.targets}"
            )
        names = settings.teacher.architecture, settings.teacher.pretrained
        of_miniature = any(name and name.startswith(MINIATURE) for name in names)
        if of_miniature and not miniature_is_built(settings):
            # one built on another machine may differ, and with it what the student's vectors mean
            raise InputError(
                f"{self.version}: its teacher {names[0]} must be in the cache of its training, and "
                f"{settings.paths.cache_dir} does not hold it (cache_dir)"
            )
        return sources.resolve(names[0]), sources.resolve(names[1]) if names[1] else None
