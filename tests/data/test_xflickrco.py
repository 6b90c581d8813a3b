from pathlib import Path

import pytest
from caption_sets import write_json_lines, write_xflickrco, xflickrco_entries

from themo.data.xflickrco import mscoco_ids, open_xflickrco, read_xflickrco
from themo.errors import InputError

N_IMAGES = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_xflickrco(tmp_path, N_IMAGES)
    return tmp_path / "xflickrco"


def test_images_of_both_sources_are_found(folder: Path) -> None:
    found = open_xflickrco(folder, folder.parent / "xflickrco-images")
    assert [path.parent.name for path in found.images] == ["flickr30k-images"] * 3 + ["val2014"] * 3
    assert found.captions["es"] == tuple(entry["sentences"][0] for entry in xflickrco_entries("es", N_IMAGES))
    assert found.image_of_caption["es"] == found.image_of_caption["en"] == tuple(range(N_IMAGES))


def test_images_side_by_side_are_found(folder: Path) -> None:
    images = folder.parent / "flat"
    images.mkdir()
    for path in (folder.parent / "xflickrco-images").rglob("*.jpg"):
        path.rename(images / path.name)
    assert {path.parent for path in open_xflickrco(folder, images).images} == {images}


def test_english_captions_follow_the_order_of_the_spanish(folder: Path) -> None:
    ordered = open_xflickrco(folder, folder.parent / "xflickrco-images")
    write_json_lines(folder / "en" / "test.jsonl", reversed(xflickrco_entries("en", N_IMAGES)))
    assert open_xflickrco(folder, folder.parent / "xflickrco-images").captions == ordered.captions


def test_ids_of_mscoco_alone(folder: Path) -> None:
    assert mscoco_ids(read_xflickrco(folder, "es")["es"]) == {"1003", "1004", "1005"}


def test_a_language_without_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"xflickrco: must contain it/test\.jsonl for the language 'it', got en, es$"
    ):
        open_xflickrco(folder, folder, "it")


def test_other_images_in_english_are_refused(folder: Path) -> None:
    write_json_lines(folder / "en" / "test.jsonl", xflickrco_entries("en", N_IMAGES)[:-1])
    message = (
        r"es/test\.jsonl and en/test\.jsonl must name the same images, got COCO_val2014_000000001005\.jpg"
    )
    with pytest.raises(InputError, match=message):
        read_xflickrco(folder, "es")


def test_missing_images_are_counted_and_named(folder: Path) -> None:
    (folder.parent / "xflickrco-images/val2014/COCO_val2014_000000001004.jpg").unlink()
    with pytest.raises(InputError, match=r"1 of 6 images are missing: COCO_val2014_000000001004\.jpg$"):
        open_xflickrco(folder, folder.parent / "xflickrco-images")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"img_path": "1000.jpg"},
            r"es/test\.jsonl, line 2: 'img_path' must be unique in the file, got",
        ),
        ({"img_path": "a/b.jpg"}, r"line 2: 'img_path' must be a name without folders, got 'a/b\.jpg'$"),
        ({"img_path": 7}, r"line 2: 'img_path' must be a name without folders, got 7$"),
        ({"sentences": []}, r"line 2: 'sentences' must be a list of captions, none of them blank, got \[\]$"),
    ],
)
def test_bad_values_are_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    entries = xflickrco_entries("es", N_IMAGES)
    entries[1] |= changes
    write_json_lines(folder / "es" / "test.jsonl", entries)
    with pytest.raises(InputError, match=message):
        read_xflickrco(folder, "es")


@pytest.mark.parametrize("key", ["img_path", "sentences"])
def test_a_missing_key_is_named(folder: Path, key: str) -> None:
    entries = xflickrco_entries("es", N_IMAGES)
    del entries[1][key]
    write_json_lines(folder / "es" / "test.jsonl", entries)
    with pytest.raises(InputError, match=rf"es/test\.jsonl, line 2: must have the key '{key}', got "):
        read_xflickrco(folder, "es")
