from __future__ import annotations

import io

import pytest
from PIL import Image

from themo.image_search.serving.formats import HEAD_BYTES, media_type


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("JPEG", "image/jpeg"), ("PNG", "image/png"), ("GIF", "image/gif"), ("WEBP", "image/webp")),
        *(("BMP", "image/bmp"), ("AVIF", "image/avif"), ("TIFF", None), ("PPM", None), ("ICO", None)),
    ],
)
def test_formats_are_known_by_their_content(name: str, kind: str | None) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, name)
    assert media_type(stream.getvalue()[:HEAD_BYTES]) == kind


@pytest.mark.parametrize("head", [b"", b"\xff", b"<svg xmlns=", b"<!DOCTYPE ht", b"%PDF-1.7"])
def test_other_content_has_no_type(head: bytes) -> None:
    assert media_type(head) is None
