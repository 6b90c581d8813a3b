"""xFlickr&CO: 1,000 images of Flickr30k and 1,000 of MSCOCO with a caption each in eight languages.

Bugliarello et al. (2022), "IGLUE: A Benchmark for Transfer Learning across Modalities, Tasks, and Languages".
A line of ``es/test.jsonl``: ``{"sentences": ["..."], "id": "1007129816", "img_path": "1007129816.jpg"}``.
Images of MSCOCO are called ``COCO_val2014_000000131089.jpg``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from themo.data.caption_sets import (
    Captions,
    CaptionSet,
    add_unique,
    assemble,
    plain_name,
    read_json_lines,
    required,
    sentences,
)
from themo.data.image_ids import plain_id
from themo.data.xtd10 import ENGLISH
from themo.errors import InputError, MissingInputError

NAME = "img_path"
_FOLDERS = ("", "flickr30k-images", "val2014")
"""Folders of the images: that of the setting, and those of the two archives."""
_MSCOCO = re.compile(r"COCO_val2014_(\d+)\.jpg")


def captions_file(language: str) -> str:
    """Return the path of a language's file in IGLUE's folder ``xFlickrCO/annotations``."""
    return f"{language}/test.jsonl"


def open_xflickrco(folder: Path, images: Path, language: str = "es") -> CaptionSet:
    """Read the captions in English and another language and find their images.

    Args:
        folder: Holds ``es/test.jsonl`` and ``en/test.jsonl``.
        images: Holds the images of Flickr30k and MSCOCO side by side, or in ``flickr30k-images/`` and
            ``val2014/``.
        language: Code of the language, the folder's name.

    Raises:
        InputError: A file is missing or malformed, the two languages name other images, an image occurs
            twice, or images are missing.
    """
    captions = read_xflickrco(folder, language)

    def path_of(name: str) -> Path:
        places = [images / part / name for part in _FOLDERS]
        return next((place for place in places if place.is_file()), places[0])

    return assemble("xflickrco", "xFlickr&CO", captions, path_of, images)


def read_xflickrco(folder: Path, language: str) -> dict[str, Captions]:
    """Return the captions of each image in English and another language, by language code.

    Raises:
        InputError: As in `open_xflickrco`, apart from images.
    """
    captions = {code: _of_language(folder, code) for code in dict.fromkeys((language, ENGLISH))}
    own, english = captions[language], captions[ENGLISH]
    other = next((name for name in (*own, *english) if (name in own) != (name in english)), None)
    if other is not None:
        raise InputError(
            f"{folder}: {captions_file(language)} and {captions_file(ENGLISH)} must name the same images, "
            f"got {other} in one of them"
        )
    return captions


def mscoco_ids(captions: Captions) -> frozenset[str]:
    """Return the MSCOCO ids among the images, without leading zeros."""
    matches = (_MSCOCO.fullmatch(name) for name in captions)
    return frozenset(plain_id(match[1]) for match in matches if match)


def _of_language(folder: Path, code: str) -> Captions:
    file = folder / captions_file(code)
    if not file.is_file():
        known = ", ".join(sorted(path.parent.name for path in folder.glob("*/test.jsonl"))) or "none"
        raise MissingInputError(
            f"{folder}: must contain {captions_file(code)} for the language {code!r}, got {known}"
        )
    captions: dict[str, Sequence[str]] = {}
    for place, entry in read_json_lines(file):
        name = plain_name(required(entry, NAME, place), NAME, place)
        texts = sentences(required(entry, "sentences", place), "sentences", place)
        add_unique(captions, name, texts, NAME, place)
    return captions
