"""Previews of RAW files: the JPEG that the camera developed and stored."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import Image

from themo.errors import InputError

_ORIENTATION = 0x0112
_TURNS = {3: 3, 5: 8, 6: 6}
"""EXIF orientations of LibRaw's ``flip``: half a turn, a quarter anticlockwise, a quarter clockwise."""


def open_preview(path: Path, file: IO[bytes]) -> tuple[BytesIO | Image.Image, int | None]:
    """Return the preview of a RAW file as JPEG or decoded, and its EXIF orientation; None: upright.

    Args:
        path: Name for messages.
        file: The open file.

    Raises:
        InputError: The file is no RAW file, or holds no preview.
    """
    import rawpy

    try:
        with rawpy.imread(file) as raw:
            preview, orientation = raw.extract_thumb(), _TURNS.get(raw.sizes.flip)
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        raise InputError(f"{path}: cannot read the image: the RAW file has no preview") from None
    except rawpy.LibRawError:
        raise InputError(f"{path}: must be a RAW file of a camera, got other content") from None
    if preview.format == rawpy.ThumbFormat.JPEG:
        return BytesIO(preview.data), orientation
    return Image.fromarray(preview.data), orientation


def orient(image: Image.Image, orientation: int | None) -> None:
    """Set the EXIF orientation of a preview that has none of its own."""
    exif = image.getexif()
    if orientation is not None and _ORIENTATION not in exif:
        exif[_ORIENTATION] = orientation
        image.info["exif"] = exif.tobytes()
