"""CLIP's preprocessing with the crop before the resize: memory follows the output, not the picture's shape.

CLIP resizes the shorter side and then crops the centre. Of a strip of 20,000 x 40 pixels it so makes
112,000 x 224, of which it keeps 224 x 224.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from open_clip.transform import ResizeKeepRatio
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
"""Long side over short side from which on the box is cut out first."""


@dataclass(frozen=True)
class CropFirst:
    """A transform that resizes the shorter side and crops the centre, in one step.

    Values equal those of the two steps but for the rounding of an 8-bit level.

    Attributes:
        resized: (width, height) of a picture to its (width, height) after the resize.
        size: (width, height) of the crop.
        filter: Pillow's filter.
        rest: What follows.
    """

    resized: Callable[[tuple[int, int]], tuple[int, int]]
    size: tuple[int, int]
    filter: Image.Resampling
    rest: Transform

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Of an RGB picture: float32 (3, H, W)."""
        resized = self.resized(image.size)
        # torchvision's center_crop rounds so; resized is nowhere smaller than the crop
        starts = [round((whole - part) / 2) for whole, part in zip(resized, self.size, strict=True)]
        box = [
            edge * before / after
            for edges in (starts, [start + part for start, part in zip(starts, self.size, strict=True)])
            for edge, before, after in zip(edges, image.size, resized, strict=True)
        ]
        if max(image.size) >= _THIN * min(image.size):
            image, box = _cut(image, box, image.size[0] / resized[0], image.size[1] / resized[1])
        return self.rest(image.resize(self.size, self.filter, (box[0], box[1], box[2], box[3])))


def crop_first(transform: Transform) -> Transform:
    """An open_clip transform for evaluation that does the same in memory bounded by output and picture.

    Transforms that do not crop ("squash", "longest") are bounded already and returned as they are.
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
    """Size after open_clip's `ResizeKeepRatio`, which serves crops that are not square."""

    width: int
    height: int

    def __call__(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = ResizeKeepRatio.get_params(_Sized(size), (self.height, self.width), 0.0)
        return width, height


@dataclass(frozen=True)
class _Sized:
    """All that `ResizeKeepRatio.get_params` asks of a picture."""

    size: tuple[int, int]


def _resized_by(step: Any, crop: tuple[int, int]) -> Callable[[tuple[int, int]], tuple[int, int]] | None:
    if isinstance(step, Resize) and step.max_size is None:
        side = step.size if isinstance(step.size, int) else step.size[0] if len(step.size) == 1 else None
        return _ShorterSide(side) if side is not None and side >= max(crop) else None
    if isinstance(step, ResizeKeepRatio) and step.longest == 0 and step.size == crop[::-1]:
        is_random = step.random_scale_prob or step.random_aspect_prob
        return None if is_random else _Covering(*crop)
    return None


def _cut(
    image: Image.Image, box: Sequence[float], scale_x: float, scale_y: float
) -> tuple[Image.Image, list[float]]:
    """The pixels that the filter reads, and where the box lies among them.

    Pillow takes a box in float32, which is coarse where a picture is tens of thousands of pixels long.
    """
    margins = [_REACH * max(1.0, scale) + 1 for scale in (scale_x, scale_y)]
    left, top = (max(0, int(box[i] - margins[i])) for i in (0, 1))
    right, bottom = (min(image.size[i], int(box[i + 2] + margins[i]) + 1) for i in (0, 1))
    return image.crop((left, top, right, bottom)), [box[0] - left, box[1] - top, box[2] - left, box[3] - top]
