"""Conversion of grey pictures of more than 8 bits to 8-bit grey, independent of the stored type.

Pillow's own `convert` clips at 255: a picture of 16 bits becomes white, one of floats from 0 to 1 black.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of grey pictures of more than 8 bits."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
"""Tags of a TIFF (TIFF 6.0, pages 29, 37 and 80)."""
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED = 0, 1, 2

_SLACK = 1 / 510
"""Share of a range by which resampled values may exceed it: half a level of 8 bits."""
_LEAST_OF_32_BITS = 2**24
"""Least lightest pixel of a 32-bit picture in a range; a darker picture would be all black."""


def to_8_bits(image: Image.Image) -> Image.Image:
    """Scale a grey picture of one of the `DEEP_MODES` to mode "L".

    The range of a 16-bit picture is known from the file; its high byte is kept. The range of a 32-bit picture
    is the smallest of 0 to 1 (floats alone), 0 to 255, 0 to 65,535 and 0 to the largest integer that holds
    the values, so that a picture scores the same as 8-bit, 16-bit, 32-bit and float picture.

    Args:
        image: Grey picture, with the tags of a TIFF.

    Raises:
        ValueError: The range is unknown, as for negative numbers (heights, temperatures).
    """
    tags = getattr(image, "tag_v2", {})
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        levels = values >> (_bits(tags, 16) - 8)
    elif image.mode == "I":
        levels = _levels_of_integers(values, tags)
    else:
        levels = _levels_of_floats(values)
    grey = np.clip(levels, 0, 255).astype(np.uint8)
    if image.mode != "I" and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey  # Pillow inverts such pictures only for 8 bits
    return Image.fromarray(grey)


def _levels_of_integers(values: npt.NDArray[np.integer[Any]], tags: Any) -> npt.NDArray[Any]:
    bits, kind = _bits(tags, 32), tags.get(_SAMPLE_FORMAT, (0,))[0]
    if bits == 32 and kind == _UNSIGNED:
        values = values.view(np.uint32)  # Pillow's mode "I" is signed
    widest = 2 ** (bits - (kind != _UNSIGNED)) - 1
    scale = _range(float(values.min()), float(values.max()), (255, 2**15 - 1 if bits == 16 else 2**16 - 1))
    if scale is None and values.min() >= 0 and values.max() >= _LEAST_OF_32_BITS:
        scale = widest
    if scale is None:
        raise ValueError(
            "grey values must lie between 0 and 255, 0 and 65,535, or, with some above 16,777,215, "
            f"0 and {2**31 - 1:,}, got {values.min():,} to {values.max():,}"
        )
    return values if scale == 255 else values >> ((scale + 1).bit_length() - 1 - 8)


def _levels_of_floats(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
    low, high = float(values.min()), float(values.max())
    scale = _range(low, high, (1, 255, 2**16 - 1))
    if scale is None:
        raise ValueError(
            f"grey values must lie between 0 and 1, 0 and 255 or 0 and 65,535, got {low:g} to {high:g}"
        )
    return np.floor(values / 256) if scale == 2**16 - 1 else np.rint(values * (255 / scale))


def _range(low: float, high: float, scales: tuple[int, ...]) -> int | None:
    """Return the upper end of the smallest range that holds all values."""
    for scale in scales:
        if high <= scale * (1 + _SLACK):  # false for NaN
            return scale if low >= -scale * _SLACK else None
    return None


def _bits(tags: Any, default: int) -> int:
    return int(tags.get(_BITS_PER_SAMPLE, (default,))[0])
