"""CLIP's preprocessing with the crop before the resize: memory follows the output, not the picture's shape.

CLIP resizes the shorter side and then crops the centre. It enlarges a strip of 20,000 x 40 pixels to 112,000
x 224 and keeps 224 x 224.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import PIL
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

Transform = Callable[[Image.Image], torch.Tensor]
"""RGB picture to float32 (3, H, W), the same H and W for every picture: the teacher's preprocessing."""

_FILTERS = {
    InterpolationMode.BICUBIC: Image.Resampling.BICUBIC,
    InterpolationMode.BILINEAR: Image.Resampling.BILINEAR,
}
_REACH = 3
"""Pixels of the larger scale that a filter reads beyond the box; bicubic reads two."""
_THIN = 4
"""Least aspect ratio for cutting out the box first: Pillow's float32 box is too coarse for pictures of tens
of thousands of pixels."""
_PILLOW = int(PIL.__version__.partition(".")[0])


@dataclass(frozen=True)
class CropFirst:
    """A transform that resizes the shorter side and crops the centre, reading only the centre.

    Values equal those of the two steps up to the rounding of 8-bit levels: by one, at strong enlargement
    rarely by two.

    Attributes:
        resized: Maps (width, height) of a picture to those after the resize.
        size: (width, height) of the crop.
        filter: Pillow's filter.
        rest: The following transform.
    """

    resized: Callable[[tuple[int, int]], tuple[int, int]]
    size: tuple[int, int]
    filter: Image.Resampling
    rest: Transform

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Transform an RGB picture: float32 (3, H, W)."""
        resized = self.resized(image.size)
        axes = [_Axis.of(*sizes) for sizes in zip(image.size, resized, self.size, strict=True)]
        order = (1, 0) if _is_vertical_first(image.size, resized) else (0, 1)
        if max(image.size) >= _THIN * min(image.size):
            image = image.crop((axes[0].start, axes[1].start, axes[0].end, axes[1].end))
            axes = [axis.from_zero() for axis in axes]
        for now in order:
            box: list[float] = [axes[0].start, axes[1].start, axes[0].end, axes[1].end]
            box[now], box[now + 2] = axes[now].low, axes[now].high
            size = [axis.end - axis.start for axis in axes]
            size[now] = axes[now].size
            image = image.resize((size[0], size[1]), self.filter, (box[0], box[1], box[2], box[3]))
            axes = [axis.from_zero() for axis in axes]
            axes[now] = _Axis(0, axes[now].size, 0, axes[now].size, axes[now].size)
        return self.rest(image)


ENOUGH = 2
"""Least size of a reduced picture, as a multiple of the output's, so that the resize still averages pixels;
cosines to the vectors of whole pictures are in ``docs/experiments/near-duplicates.md``."""


def enough_pixels(transform: Transform) -> int | None:
    """Return the length of both sides of a picture that suffices for a transform; None: unknown."""
    return ENOUGH * max(transform.size) if isinstance(transform, CropFirst) else None


@dataclass(frozen=True)
class _Axis:
    """The used part of a picture's width or height.

    Attributes:
        start: First pixel that the filter reads.
        end: Pixel after the last one.
        low: Lower edge of the box, in fractional pixels.
        high: Upper edge of the box.
        size: Pixels of the output.
    """

    start: int
    end: int
    low: float
    high: float
    size: int

    @classmethod
    def of(cls, before: int, resized: int, crop: int) -> _Axis:
        first = round((resized - crop) / 2)  # as torchvision's center_crop
        low, high = first * before / resized, (first + crop) * before / resized
        margin = _REACH * max(1.0, before / resized) + 1
        return cls(max(0, int(low - margin)), min(before, int(high + margin) + 1), low, high, crop)

    def from_zero(self) -> _Axis:
        """Return the same axis of a picture that starts at `start`."""
        return _Axis(0, self.end - self.start, self.low - self.start, self.high - self.start, self.size)


def _is_vertical_first(size: tuple[int, int], resized: tuple[int, int]) -> bool:
    """Whether Pillow resizes the whole picture vertically first.

    The order matters, since Pillow rounds and clips levels between the passes. Pillow 13 starts vertically if
    that removes more than twice the pixels; older versions never do.
    """
    fewer_columns, fewer_rows = (before - after for before, after in zip(size, resized, strict=True))
    return _PILLOW >= 13 and fewer_rows > 2 * max(0, fewer_columns)


def crop_first(transform: Transform) -> Transform:
    """Return an equivalent of an open_clip evaluation transform with memory bounded by output and picture.

    Transforms that do not crop ("squash", "longest") are already bounded and returned unchanged.
    """
    steps = list(transform.transforms) if isinstance(transform, Compose) else []
    if len(steps) < 2 or not isinstance(steps[1], CenterCrop):
        return transform
    resize, crop = steps[:2]
    filter_ = _FILTERS.get(getattr(resize, "interpolation", None))
    height, width = crop.size
    resized = _resized_by(resize, (width, height))
    if filter_ is None or resized is None:
        return transform
    return CropFirst(resized, (width, height), filter_, cast(Transform, Compose(steps[2:])))


@dataclass(frozen=True)
class _ShorterSide:
    """Size after torchvision's `Resize(side)`."""

    side: int

    def __call__(self, size: tuple[int, int]) -> tuple[int, int]:
        width, height = size
        if width <= height:
            return self.side, int(self.side * height / width)
        return int(self.side * width / height), self.side


@dataclass(frozen=True)
class _Covering:
    """Size after open_clip's `ResizeKeepRatio`, for crops that are not square."""

    step: Any

    def __call__(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = self.step.get_params(_Sized(size), self.step.size, 0.0)
        return width, height


@dataclass(frozen=True)
class _Sized:
    """A stand-in for a picture in `ResizeKeepRatio.get_params`."""

    size: tuple[int, int]


def _resized_by(step: Any, crop: tuple[int, int]) -> Callable[[tuple[int, int]], tuple[int, int]] | None:
    if isinstance(step, Resize) and step.max_size is None:
        side = step.size if isinstance(step.size, int) else step.size[0] if len(step.size) == 1 else None
        return _ShorterSide(side) if side is not None and side >= max(crop) else None
    # by name, since only the teacher imports open_clip
    if type(step).__name__ == "ResizeKeepRatio" and step.longest == 0 and step.size == crop[::-1]:
        is_random = step.random_scale_prob or step.random_aspect_prob
        return None if is_random else _Covering(step)
    return None
