"""Cosines of near-duplicates, of different pictures, and of reduced pictures, by the miniature's teacher.

    python -m benchmarks near_duplicates

Pictures of the test scenes are saved again as JPEG or WebP, resized, or brightened; `NEAR_DUPLICATE` should
be below the cosines of these copies and above those of different pictures. Large JPEGs are
also encoded twice: at full size, and from the reduced size at which the index decodes them.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from benchmarks.measure import Options, Row
from benchmarks.miniature_version import picture_paths
from themo.config import settings as config
from themo.data.sources import Sources
from themo.image_search.folding import NEAR_DUPLICATE
from themo.models.cropping import enough_pixels
from themo.models.image_files import open_rgb
from themo.models.teacher import Teacher

N = 400
"""Number of pictures."""
LARGE = 1536
"""Side of the large JPEGs, in pixels."""
THRESHOLDS = (0.95, 0.97, NEAR_DUPLICATE, 0.99)


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- nothing is random
    """Rows for each kind of copy, for different pictures, and for reduced pictures."""
    sources = Sources(config.load())
    teacher = Teacher.load(*sources.teacher("miniature:teacher", None))
    paths = picture_paths(sources, "test/mscoco")[:N]
    pictures = [open_rgb(path) for path in paths]
    vectors_NE = _encode(teacher, pictures)
    rows = [
        _row(f"copies, {name}", (vectors_NE * _encode(teacher, map(change, pictures))).sum(axis=1))
        for name, change in CHANGES.items()
    ]
    cosines_NN = vectors_NE @ vectors_NE.T
    np.fill_diagonal(cosines_NN, -1)
    return [*rows, _row("different pictures, nearest", cosines_NN.max(axis=1)), _reduced(teacher, pictures)]


def _saved(format_: str, quality: int) -> Callable[[Image.Image], Image.Image]:
    def save(picture: Image.Image) -> Image.Image:
        stream = io.BytesIO()
        picture.save(stream, format_, quality=quality)
        return Image.open(stream).convert("RGB")

    return save


def _resized(share: float) -> Callable[[Image.Image], Image.Image]:
    def resize(picture: Image.Image) -> Image.Image:
        size = (round(picture.width * share), round(picture.height * share))
        return picture.resize(size, Image.Resampling.LANCZOS)

    return resize


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 75": _saved("JPEG", 75),
    "JPEG of quality 50": _saved("JPEG", 50),
    "WebP of quality 80": _saved("WEBP", 80),
    "half the size": _resized(0.5),
    "three quarters of the size": _resized(0.75),
    "twice the size": _resized(2),
    "10 % brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
}


def _encode(teacher: Teacher, pictures: Iterable[Image.Image]) -> npt.NDArray[np.float32]:
    vectors: npt.NDArray[np.float32] = teacher.encode_images(list(pictures)).numpy()
    return vectors


def _row(name: str, cosines_N: npt.NDArray[np.float32]) -> Row:
    shares = "; ".join(f"{(cosines_N >= bound).mean():.3f} at {bound:g}" for bound in THRESHOLDS)
    spread = (float(cosines_N.min()), float(cosines_N.max()))
    return Row(
        f"{name}: median cosine", float(np.median(cosines_N)), "", None, spread, f"share above: {shares}"
    )


def _reduced(teacher: Teacher, pictures: list[Image.Image]) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, picture in enumerate(pictures[:40]):
            paths.append(Path(folder) / f"{number}.jpg")
            picture.resize((LARGE, LARGE), Image.Resampling.LANCZOS).save(paths[-1], quality=92)
        whole = _encode(teacher, [open_rgb(path) for path in paths])
        enough = enough_pixels(teacher.transform)
        reduced = _encode(teacher, [open_rgb(path, enough) for path in paths])
    return _row(f"JPEGs of {LARGE} pixels, reduced", (whole * reduced).sum(axis=1))
