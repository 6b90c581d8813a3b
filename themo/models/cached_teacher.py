"""Teacher vectors from the cache; the model is loaded only if one is missing.

Loading a teacher, even a tiny one, takes seconds of processor time: open_clip imports torchvision and timm.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from themo.files.cache import Cache
from themo.models.image_vectors import caption_vectors, image_vectors, map_to_image_space
from themo.models.teacher_names import Target, fingerprint
from themo.process.devices import Device, resolve_device

if TYPE_CHECKING:
    from torch import Tensor

    from themo.models.teacher import Teacher


class CachedTeacher:
    """A teacher whose vectors of images and texts are kept in a cache.

    Args:
        cache: Cache of the vectors.
        architecture: As in `Teacher.load`.
        pretrained: As in `Teacher.load`.
        device: Device of the model, resolved when it is loaded.

    Attributes:
        fingerprint: Digest of architecture and weights, a part of the cache's keys.
    """

    def __init__(self, cache: Cache, architecture: str, pretrained: str | None, device: Device) -> None:
        self._cache, self._names, self._device = cache, (architecture, pretrained), device
        self.fingerprint = fingerprint(architecture, pretrained)

    @cached_property
    def model(self) -> Teacher:
        """The model.

        Raises:
            InputError: The model is missing, unknown or damaged.
        """
        from themo.models.teacher import Teacher  # slow to import

        return Teacher.load(*self._names, str(resolve_device(self._device)))

    def _load(self) -> Teacher:
        return self.model

    def dimension(self, target: Target) -> int:
        """Length of a target vector."""

        def build(folder: Path) -> None:
            targets: tuple[Target, ...] = ("state", "embedding", "unit")
            lengths = {each: self.model.dimension(each) for each in targets}
            (folder / "lengths.json").write_text(json.dumps(lengths), encoding="utf-8")

        entry = self._cache.entry("dimensions", {"teacher": self.fingerprint}, build)
        return int(json.loads((entry / "lengths.json").read_text(encoding="utf-8"))[target])

    def image_file(self, paths: Sequence[Path]) -> Path:
        """Return the file of `image_vectors`."""
        return image_vectors(self._cache, self.fingerprint, paths, self._load)

    def caption_file(self, texts: Sequence[str], what: str = "English texts") -> Path:
        """Return the file of `caption_vectors`."""
        return caption_vectors(self._cache, self.fingerprint, texts, self._load, what)

    def map_file(self, target: Target) -> Path | None:
        """Return the file of `map_to_image_space`."""
        return map_to_image_space(self._cache, self.fingerprint, target, self._load)

    def encode_images(self, paths: Sequence[Path]) -> Tensor:
        """Vectors of image files, (N, E) float32 of length 1.

        Raises:
            InputError: A file is no image or damaged.
        """
        return _read(self.image_file(paths))

    def encode_texts(self, texts: Sequence[str], what: str = "English texts") -> Tensor:
        """Vectors of texts in the images' space, (N, E) float32, of any length; `what` names the texts."""
        return _read(self.caption_file(texts, what))

    def to_image_space(self, vectors: Tensor, target: Target) -> Tensor:
        """Map a student's vectors, (N, W) or (N, E), to image space: (N, E), length 1, on the CPU."""
        from torch.nn import functional

        vectors = vectors.float().cpu()
        place = self.map_file(target)
        if place is not None:
            mapping = _read(place)
            vectors = vectors @ mapping[:-1] + mapping[-1]
        return functional.normalize(vectors, dim=1)


def _read(path: Path) -> Tensor:
    import torch  # the driver of a search, which needs files alone, has no torch

    return torch.from_numpy(np.load(path, allow_pickle=False))
