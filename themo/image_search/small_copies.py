"""Small copies of pictures, as JPEG."""

from __future__ import annotations

import io
from pathlib import Path

from themo.models.image_files import open_rgb, upright

THUMBNAIL_PIXELS = 360
"""Longer side of a small copy, in pixels; shown at half that size, for screens of double density."""


def small_copy(path: Path, side: int = THUMBNAIL_PIXELS, quality: int = 82) -> bytes:
    """Return an upright copy of a picture as JPEG.

    Args:
        path: Image file.
        side: Longer side in pixels; smaller pictures keep their size.
        quality: Quality of the JPEG, 1 to 95.

    Raises:
        InputError: The file cannot be read (see `themo.models.image_files.open_rgb`).
    """
    image = upright(open_rgb(path, enough=side))
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
