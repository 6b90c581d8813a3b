from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from themo.errors import InputError
from themo.image_search.small_copies import THUMBNAIL_PIXELS, small_copy
from themo.models.image_files import open_rgb


@pytest.mark.parametrize(
    ("size", "copied"), [((3000, 2000), (360, 240)), ((360, 100), (360, 100)), ((5, 9), (5, 9))]
)
def test_longer_side_is_limited(tmp_path: Path, size: tuple[int, int], copied: tuple[int, int]) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "a.png")
    assert Image.open(io.BytesIO(small_copy(tmp_path / "a.png"))).size == copied


@pytest.mark.parametrize(
    ("size", "decoded"), [((3000, 2900), (375, 363)), ((2000, 1000), (1000, 500)), ((8000, 350), (8000, 350))]
)
def test_large_jpegs_are_decoded_at_reduced_size(
    tmp_path: Path, size: tuple[int, int], decoded: tuple[int, int]
) -> None:
    Image.new("RGB", size, "red").save(tmp_path / "a.jpg")
    assert open_rgb(tmp_path / "a.jpg").size == size
    assert open_rgb(tmp_path / "a.jpg", enough=THUMBNAIL_PIXELS).size == decoded


def test_reduced_pictures_stay_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (2000, 1000), "red")
    image.paste("blue", (0, 0, 1000, 1000))
    exif = image.getexif()
    exif[0x0112] = 6  # its top is at the right
    image.save(tmp_path / "a.jpg", exif=exif)
    copy = Image.open(io.BytesIO(small_copy(tmp_path / "a.jpg")))
    assert copy.size == (180, 360)
    assert copy.getpixel((90, 20)) == pytest.approx((0, 0, 255), abs=6)
    assert copy.getpixel((90, 340)) == pytest.approx((255, 0, 0), abs=6)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.jpg: cannot read the image: No such file or directory"):
        small_copy(tmp_path / "x.jpg")
