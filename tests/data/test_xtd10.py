import unicodedata
from pathlib import Path

import pytest

from themo.data.xtd10 import Xtd10
from themo.errors import InputError

NAMES = [
    "COCO_train2014_000000436508.jpg",
    "COCO_val2014_000000127068.jpg",
    "COCO_train2014_000000436515.jpg",
]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def xtd(tmp_path: Path) -> tuple[Path, Path]:
    """The three first lines of a test set as XTD10 is laid out, with what else may lie around."""
    captions, images = tmp_path / "xtd10", tmp_path / "mscoco"
    write(captions / "test_image_names.txt", "\n".join(NAMES) + "\n")
    write(captions / "test_1kcaptions_es.txt", "un gato\nun pájaro\u2028rojo\nun niño")  # no last newline
    write(captions / "test_1kcaptions_en.txt", "a cat\r\na bird\r\na child\r\n")
    write(captions / "README.md", "not a caption")
    for name in [*NAMES, "COCO_train2014_000000000009.jpg"]:
        write(images / name.split("_")[1] / name, "")
    return captions, images


def test_xtd10_pairs_captions_with_images(xtd: tuple[Path, Path]) -> None:
    captions, images = xtd
    data = Xtd10.open(captions, images, "es")
    assert data.captions == {
        "en": ("a cat", "a bird", "a child"),
        "es": ("un gato", "un pájaro\u2028rojo", "un niño"),
    }
    assert [path.relative_to(images).as_posix() for path in data.images] == [
        "train2014/COCO_train2014_000000436508.jpg",
        "val2014/COCO_val2014_000000127068.jpg",
        "train2014/COCO_train2014_000000436515.jpg",
    ]
    assert data.image_of_caption == (0, 1, 2)


def test_captions_are_read_in_canonical_form(xtd: tuple[Path, Path]) -> None:
    composed = Xtd10.open(*xtd)
    path = xtd[0] / "test_1kcaptions_es.txt"
    text = unicodedata.normalize("NFD", path.read_text(encoding="utf-8"))
    assert "n\u0303" in text
    path.write_text(text, encoding="utf-8")
    assert Xtd10.open(*xtd) == composed


def test_xtd10_in_english_alone(xtd: tuple[Path, Path]) -> None:
    (xtd[0] / "test_1kcaptions_es.txt").unlink()
    assert list(Xtd10.open(*xtd, "en").captions) == ["en"]


def test_xtd10_as_the_repository_has_it(xtd: tuple[Path, Path]) -> None:
    captions, images = xtd
    for part, name in (("MIC", "1kcaptions_en"), ("XTD10", "1kcaptions_es"), ("XTD10", "image_names")):
        write(captions / part / "x", "")
        (captions / f"test_{name}.txt").rename(captions / part / f"test_{name}.txt")
    assert Xtd10.open(captions, images, "es").captions["en"][0] == "a cat"


def test_xtd10_image_with_two_captions(xtd: tuple[Path, Path]) -> None:
    write(xtd[0] / "test_image_names.txt", "\n".join([NAMES[0], NAMES[1], NAMES[0]]))
    data = Xtd10.open(*xtd, "es")
    assert (len(data.images), data.image_of_caption) == (2, (0, 1, 0))


def test_xtd10_missing_images_are_counted_and_named(xtd: tuple[Path, Path]) -> None:
    captions, images = xtd
    names = [f"COCO_val2014_{i:012d}.jpg" for i in range(1200)]
    write(captions / "test_image_names.txt", "\n".join(names))
    write(captions / "test_1kcaptions_es.txt", "uno\n" * 1200)
    write(captions / "test_1kcaptions_en.txt", "one\n" * 1200)
    write(images / "val2014" / names[1], "")
    with pytest.raises(InputError) as error:
        Xtd10.open(captions, images, "es")
    assert str(error.value) == (
        f"{images}: 1,199 of 1,200 images are missing: val2014/{names[0]}, val2014/{names[2]}, "
        f"val2014/{names[3]} and 1,196 more"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "test_1kcaptions_es.txt",
            b"uno\ndos\n",
            r"es\.txt: must have as many lines as .*got 2 captions for 3",
        ),
        ("test_1kcaptions_es.txt", b"uno\n \ntres\n", r"es\.txt, line 2: must not be blank"),
        ("test_1kcaptions_es.txt", b"", r"es\.txt, line 1: must not be blank"),
        ("test_1kcaptions_es.txt", b"uno\nni\xf1o\ntres", r"es\.txt: must be UTF-8, got 0xf1 at byte 6"),
        (
            "test_1kcaptions_es.txt",
            "uno\ndos\ntres\n".encode("utf-16-be"),
            r"es\.txt: must be UTF-8, got 0x00 at byte 0",
        ),
        ("test_1kcaptions_es.txt", None, r"es\.txt: cannot be read: No such file"),
        ("test_1kcaptions_en.txt", None, r"en\.txt: cannot be read: No such file"),
        ("test_image_names.txt", None, r"names\.txt: cannot be read: No such file"),
        ("test_image_names.txt", b"a.jpg\nb.jpg\nc.jpg", r"names\.txt: names must look like .*got 'a\.jpg'"),
        (
            "test_image_names.txt",
            b"COCO_val2014_1.jpg\nCOCO_val2014_../../x.jpg\nCOCO_val2014_1.jpg",
            r"got 'COCO_val2014_\.\./\.\./x\.jpg'",
        ),
    ],
)
def test_xtd10_refuses(xtd: tuple[Path, Path], name: str, content: bytes | None, message: str) -> None:
    path = xtd[0] / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        Xtd10.open(*xtd, "es")


def test_a_missing_folder_of_captions_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        Xtd10.open(tmp_path / "xtd10", tmp_path / "mscoco", "es")
