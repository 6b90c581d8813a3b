"""Files that Pillow refuses though their pictures are whole, and those that are too large."""

import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from themo.errors import InputError
from themo.models import image_files
from themo.models.image_files import UnreadableError, open_rgb, upright


def picture(width: int = 64, height: int = 48) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 3 % 256, y * 5 % 256, (x + y) % 256], axis=-1).astype(np.uint8))


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return len(content).to_bytes(4, "big") + kind + content + crc.to_bytes(4, "big")


LONG = b"x" * 3_000_000
TEXTS = {
    "compressed text": chunk(b"zTXt", b"key\0\0" + zlib.compress(LONG)),
    "compressed Unicode": chunk(b"iTXt", b"key\0\1\0\0\0" + zlib.compress(LONG)),
    "a colour profile": chunk(b"iCCP", b"key\0\0" + zlib.compress(LONG)),
    "much text": chunk(b"tEXt", b"key\0" + 30 * LONG),
}


@pytest.mark.parametrize("at", ["before", "after"])
@pytest.mark.parametrize("kind", TEXTS)
def test_a_png_with_long_text_is_whole(tmp_path: Path, kind: str, at: str) -> None:
    path = tmp_path / "a.png"
    picture().save(path)
    content = path.read_bytes()
    place = content.index(b"IDAT" if at == "before" else b"IEND") - 4
    path.write_bytes(content[:place] + TEXTS[kind] + content[place:])
    if at == "before":
        with pytest.raises(ValueError, match=r"[Tt]oo (large|much)|MAX_TEXT"), Image.open(path) as image:
            image.load()
    assert np.array_equal(np.asarray(open_rgb(path)), np.asarray(picture()))


def test_a_png_that_is_cut_in_its_text_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture().save(path)
    content = path.read_bytes()
    place = content.index(b"IDAT") - 4
    path.write_bytes(content[:place] + TEXTS["compressed text"][:2000])
    with pytest.raises(InputError, match=r"a\.png: cannot read the image: "):
        open_rgb(path)


def test_a_photograph_of_a_phone_is_decoded_at_half_its_size(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    image = Image.new("L", (16_320, 12_240), 100)
    image.paste(200, (0, 0, 8_160, 12_240))
    image.save(path)
    del image
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Image.DecompressionBombError):
            Image.open(path)
        rgb = open_rgb(path)
    assert rgb.size == (8_160, 6_120)
    assert (rgb.getpixel((10, 10)), rgb.getpixel((8_000, 6_000))) == ((200,) * 3, (100,) * 3)


def test_a_photograph_is_decoded_at_the_least_reduction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    picture(640, 480).save(path, exif=orientation(6))
    for limit, size in ((640 * 480 * 4, (640, 480)), (640 * 480 * 4 - 1, (320, 240)), (80_000, (160, 120))):
        monkeypatch.setattr(image_files, "REDUCED_BYTES", limit)
        rgb = open_rgb(path)
        assert rgb.size == size
        assert upright(rgb).size == size[::-1]  # its EXIF data are still there


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "I;16"])
def test_a_converted_picture_keeps_its_orientation(tmp_path: Path, mode: str) -> None:
    see_through = picture().convert("RGBA")
    see_through.putpixel((0, 0), (0, 0, 0, 0))
    deep = Image.fromarray(np.full((48, 64), 300, np.uint16))
    of_mode = deep if mode == "I;16" else see_through.convert(mode)
    of_mode.save(tmp_path / "a.png", exif=orientation(6))
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.mode == mode
    rgb = open_rgb(tmp_path / "a.png")
    assert (rgb.mode, rgb.size, upright(rgb).size) == ("RGB", (64, 48), (48, 64))
    assert not rgb.has_transparency_data


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF", "WEBP", "AVIF"])
def test_a_picture_above_the_limit_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / "large"
    picture(1200, 1000).save(path, kind)
    monkeypatch.setattr(image_files, "MOST_BYTES", 1200 * 1000 * 4)
    assert open_rgb(path).size == (1200, 1000)
    monkeypatch.setattr(image_files, "MOST_BYTES", 1200 * 1000 * 4 - 4)
    expected = "large: cannot read the image: must have at most 1 megapixels, got 1,200 x 1,000"
    with pytest.raises(InputError, match=expected):
        open_rgb(path)


def test_a_bomb_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    header = (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    rows = zlib.compress(b"\0" * 1_000_000)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    with pytest.raises(InputError, match=r"at most 268 megapixels, got 60,000 x 60,000"):
        open_rgb(path)


def test_a_jpeg_that_must_be_gathered_first_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    picture(640, 480).save(path, progressive=True, subsampling=0)
    monkeypatch.setattr(image_files, "REDUCED_BYTES", 640 * 480)
    monkeypatch.setattr(image_files, "MOST_COEFFICIENT_BYTES", 640 * 480 * 3 * 2)
    assert open_rgb(path).size == (320, 240)
    monkeypatch.setattr(image_files, "MOST_COEFFICIENT_BYTES", 640 * 480 * 3 * 2 - 6)
    with pytest.raises(InputError, match="must have at most 0 megapixels"):
        open_rgb(path)
    picture(640, 480).save(path, progressive=True, subsampling=2)  # a quarter of the colours
    assert open_rgb(path).size == (320, 240)


def test_several_pictures_in_a_file_give_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    picture().save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))], quality=95)
    difference = np.asarray(open_rgb(path)).astype(int) - np.asarray(picture())
    assert abs(difference).mean() < 8


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_avif_is_read(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg", "AVIF", quality=95)
    difference = np.asarray(open_rgb(tmp_path / "a.jpg")).astype(int) - np.asarray(picture())
    assert abs(difference).mean() < 8


def write_heic(path: Path, image: Image.Image) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(image).save(path, quality=95)


def test_heic_is_read_under_any_name(tmp_path: Path) -> None:
    write_heic(tmp_path / "a.jpg", picture())
    difference = np.asarray(open_rgb(tmp_path / "a.jpg")).astype(int) - np.asarray(picture())
    assert abs(difference).mean() < 8
    content = (tmp_path / "a.jpg").read_bytes()
    for part in (30, len(content) // 2):
        (tmp_path / "cut.heic").write_bytes(content[:part])
        with pytest.raises(InputError, match=r"cut\.heic: "):
            open_rgb(tmp_path / "cut.heic")


def test_heic_and_avif_without_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_heic(tmp_path / "a.heic", picture())
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x20ftypavif" + bytes(40))
    monkeypatch.setattr(image_files, "find_spec", lambda _: None)
    monkeypatch.setattr(image_files.AvifImagePlugin, "SUPPORTED", False)
    # it may be read another time, so nothing is kept of its content
    with pytest.raises(UnreadableError, match=r"a\.heic: .*: HEIC needs 'pip install pillow-heif'"):
        open_rgb(tmp_path / "a.heic")
    with pytest.raises(UnreadableError, match=r"a\.avif: .*: AVIF needs 'pip install --upgrade pillow'"):
        open_rgb(tmp_path / "a.avif")
