"""Teacher vectors of images: computed once for each file and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from themo.files.cache import Cache
from themo.models.teacher_names import Target

if TYPE_CHECKING:
    from themo.models.teacher import Teacher

LoadTeacher = Callable[[], "Teacher"]
_FORM = 2
"""Of how a picture is read: another number computes all vectors again."""


def image_vectors(cache: Cache, teacher_key: str, paths: Sequence[Path], load: LoadTeacher) -> Path:
    """``.npy`` of the vectors of image files, (I, E) float32 of length 1, in the order of `paths`.

    A file is known by its name, size and time of change; reading all of ImageNet to digest it would take
    longer than many a test.

    Args:
        cache: Where they are kept.
        teacher_key: Fingerprint of the teacher.
        paths: I image files.
        load: Gives the `Teacher`; called only if something must be computed.

    Raises:
        InputError: A file is no whole image.
    """

    def build(folder: Path) -> None:
        np.save(folder / "vectors.npy", load().encode_images(paths).numpy())

    stamps = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    return (
        cache.entry("images", {"form": _FORM, "teacher": teacher_key, "images": stamps}, build)
        / "vectors.npy"
    )


def map_to_image_space(cache: Cache, teacher_key: str, target: Target, load: LoadTeacher) -> Path | None:
    """``.npy`` of the teacher's text projection as an affine map, (D + 1, E) float32, the bias last.

    None where the target lies behind the projection already. Other arguments as of `image_vectors`.
    """
    if target != "state":
        return None

    def build(folder: Path) -> None:
        np.save(folder / "map.npy", load().text_projection().numpy())

    return cache.entry("projection", {"teacher": teacher_key}, build) / "map.npy"
