"""The picture formats that browsers show."""

from __future__ import annotations

HEAD_BYTES = 12
"""Number of leading bytes that identify the format of a file."""


def media_type(head: bytes) -> str | None:
    """Return the media type of a picture by the first `HEAD_BYTES` of its file.

    None: not all browsers show the format (TIFF, HEIC), or the file is not a picture. The name is ignored, as
        in the index.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    return "image/bmp" if head.startswith(b"BM") else None
