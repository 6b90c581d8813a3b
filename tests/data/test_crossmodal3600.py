import unicodedata
from pathlib import Path
from typing import Any

import pytest
from caption_sets import crossmodal_entries, write_crossmodal, write_json_lines

from themo.data.crossmodal3600 import open_crossmodal
from themo.errors import InputError

N_IMAGES = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_crossmodal(tmp_path, N_IMAGES)
    return tmp_path / "xm3600"


def test_each_language_has_captions_of_its_own_number(folder: Path) -> None:
    found = open_crossmodal(folder, folder / "images")
    entries = crossmodal_entries(N_IMAGES)
    assert [path.stem for path in found.images] == [entry["image/key"] for entry in entries]
    assert found.captions["es"] == tuple(text for entry in entries for text in entry["es"]["caption"])
    assert found.image_of_caption["es"] == (0, 0, 1, 1, 2, 2, 3, 3)
    assert found.image_of_caption["en"] == (0, 1, 2, 3)


def test_captions_are_composed_and_stripped(folder: Path) -> None:
    entries = crossmodal_entries(N_IMAGES)
    entries[0]["es"]["caption"] = [unicodedata.normalize("NFD", "  un niño\u2028pequeño ")]
    write_json_lines(folder / "captions.jsonl", entries)
    assert open_crossmodal(folder, folder / "images").captions["es"][0] == "un niño\u2028pequeño"


def test_missing_images_are_counted_and_named(folder: Path) -> None:
    for i in (1, 3):
        (folder / "images" / f"{i:016x}.jpg").unlink()
    with pytest.raises(
        InputError, match=rf"images: 2 of 4 images are missing: {1:016x}\.jpg, {3:016x}\.jpg$"
    ):
        open_crossmodal(folder, folder / "images")


def no_key(entry: dict[str, Any]) -> None:
    del entry["image/key"]


def no_spanish(entry: dict[str, Any]) -> None:
    entry["ca"] = entry.pop("es")


def no_captions(entry: dict[str, Any]) -> None:
    del entry["es"]["caption"]


def blank_caption(entry: dict[str, Any]) -> None:
    entry["es"]["caption"] = ["un gato", " "]


def one_text(entry: dict[str, Any]) -> None:
    entry["es"]["caption"] = "un gato"


def twice(entry: dict[str, Any]) -> None:
    entry["image/key"] = f"{0:016x}"


def other_folder(entry: dict[str, Any]) -> None:
    entry["image/key"] = "../secret"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_key, r"captions\.jsonl, line 3: must have the key 'image/key', got 'image/locale', 'en', 'es'$"),
        (no_spanish, r"line 3: must have captions in the language 'es', got en, ca$"),
        (no_captions, r"line 3, 'es': must have the key 'caption', got 'caption/tokenized', "),
        (
            blank_caption,
            r"line 3: 'caption' must be a list of captions, none of them blank, got \['un gato', ",
        ),
        (one_text, r"line 3: 'caption' must be a list of captions, none of them blank, got 'un gato'$"),
        (twice, r"line 3: 'image/key' must be unique in the file, got '0000000000000000' again$"),
        (other_folder, r"line 3: 'image/key' must be a name without folders, got '\.\./secret'$"),
    ],
)
def test_bad_lines_are_refused_in_one_line(folder: Path, spoil: Any, message: str) -> None:
    entries = crossmodal_entries(N_IMAGES)
    spoil(entries[2])
    write_json_lines(folder / "captions.jsonl", entries)
    with pytest.raises(InputError, match=message) as caught:
        open_crossmodal(folder, folder / "images")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", [b"[1]", b"{", b"", b'{"image/key": "\xff"}'])
def test_lines_must_be_json_objects_in_utf_8(folder: Path, line: bytes) -> None:
    (folder / "captions.jsonl").write_bytes(line + b"\n")
    with pytest.raises(InputError, match=r"captions\.jsonl, line 1: must be a JSON object in UTF-8, got b'"):
        open_crossmodal(folder, folder / "images")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"captions\.jsonl: cannot be read: No such file"):
        open_crossmodal(tmp_path, tmp_path)
