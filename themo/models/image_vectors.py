"""Teacher vectors of images, and of their English captions: computed once and cached."""

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
"""Version of the decoding: a new number computes all vectors again."""


def image_vectors(cache: Cache, teacher_key: str, paths: Sequence[Path], load: LoadTeacher) -> Path:
    """Return the ``.npy`` of image files' vectors, (I, E) float32 of length 1, in the order of `paths`.

    A file is identified by name, size and time of change; hashing all of ImageNet would take longer than many
    tests.

    Args:
        cache: Cache of the vectors.
        teacher_key: Fingerprint of the teacher.
        paths: I image files.
        load: Loads the `Teacher`; called only if vectors must be computed.

    Raises:
        InputError: A file is no image or damaged.
    """

    def build(folder: Path) -> None:
        np.save(folder / "vectors.npy", load().encode_images(paths).numpy())

    stamps = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    return (
        cache.entry("images", {"form": _FORM, "teacher": teacher_key, "images": stamps}, build)
        / "vectors.npy"
    )


def caption_vectors(
    cache: Cache, teacher_key: str, captions: Sequence[str], load: LoadTeacher, what: str = "English texts"
) -> Path:
    """Return the ``.npy`` of the teacher's vectors of T captions, (T, E), in the images' space.

    `what` names the captions for the progress. The other arguments are those of `image_vectors`.
    """

    def build(folder: Path) -> None:
        np.save(folder / "vectors.npy", load().encode_texts(captions, "embedding", what=what))

    key = {"teacher": teacher_key, "captions": list(captions)}
    return cache.entry("captions", key, build) / "vectors.npy"


def map_to_image_space(cache: Cache, teacher_key: str, target: Target, load: LoadTeacher) -> Path | None:
    """Return the ``.npy`` of the teacher's text projection as an affine map, (D + 1, E) float32, bias last.

    None if the target already includes the projection. The other arguments are those of `image_vectors`.
    """
    if target != "state":
        return None

    def build(folder: Path) -> None:
        np.save(folder / "map.npy", load().text_projection().numpy())

    return cache.entry("projection", {"teacher": teacher_key}, build) / "map.npy"
