"""Previews of RAW files, of a real DNG where rawpy is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from raw_files import write_dng

from themo.errors import InputError
from themo.models import image_files
from themo.models.image_files import UnreadableError, open_rgb, upright

pytest.importorskip("rawpy")


@pytest.fixture
def picture() -> Image.Image:
    """Red above blue."""
    image = Image.new("RGB", (60, 40), "red")
    image.paste("blue", (0, 20, 60, 40))
    return image


def test_the_preview_of_a_raw_file_is_read(tmp_path: Path, picture: Image.Image) -> None:
    write_dng(tmp_path / "a.DNG", picture)
    found = open_rgb(tmp_path / "a.DNG")
    assert (found.mode, found.size) == ("RGB", (60, 40))
    red, _, blue = found.getpixel((30, 5))
    assert red > 200 > 50 > blue


@pytest.mark.parametrize(
    ("orientation", "size", "place", "channel"),
    [(3, (60, 40), (30, 5), 2), (6, (40, 60), (35, 30), 0), (8, (40, 60), (35, 30), 2)],
)
def test_a_preview_is_turned_upright(
    tmp_path: Path,
    picture: Image.Image,
    orientation: int,
    size: tuple[int, int],
    place: tuple[int, int],
    channel: int,
) -> None:
    write_dng(tmp_path / "a.dng", picture, orientation)
    found = upright(open_rgb(tmp_path / "a.dng"))
    assert found.size == size
    assert found.getpixel(place)[channel] > 200


def test_a_damaged_raw_file_is_one_line(tmp_path: Path, picture: Image.Image) -> None:
    write_dng(tmp_path / "a.dng", picture)
    content = (tmp_path / "a.dng").read_bytes()
    for name, part in {"text.dng": b"no picture", "empty.nef": b"", "cut.dng": content[:-100]}.items():
        (tmp_path / name).write_bytes(part)
        with pytest.raises(InputError, match=rf"{name}: (must be a RAW file|cannot read the image)") as error:
            open_rgb(tmp_path / name)
        assert "\n" not in str(error.value)


def test_raw_without_its_package(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dng(tmp_path / "a.dng", picture)
    monkeypatch.setattr(image_files, "find_spec", lambda _: None)
    with pytest.raises(UnreadableError, match=r"a\.dng: .*: RAW needs 'pip install rawpy'"):
        open_rgb(tmp_path / "a.dng")
