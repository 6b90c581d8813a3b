"""Crossmodal-3600: 3,600 photographs with captions in 36 languages, about two each.

Thapliyal et al. (2022), "Crossmodal-3600: A Massively Multilingual Multimodal Evaluation Dataset". Annotators
of each language wrote captions of their own, so English captions are no translations of Spanish ones.

A line of ``captions.jsonl``: ``{"image/key": "0a1b...", "image/locale": "ar", "es": {"caption": ["...",
"..."], "caption/tokenized": [...], ...}, ...}``. The image of a key is ``KEY.jpg``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
from themo.data.xtd10 import ENGLISH
from themo.errors import InputError

CAPTIONS_FILE = "captions.jsonl"
KEY = "image/key"


def open_crossmodal(folder: Path, images: Path, language: str = "es") -> CaptionSet:
    """Read the captions in English and another language and find their images.

    Args:
        folder: Holds ``captions.jsonl``.
        images: Holds ``KEY.jpg``, as the published archive does.
        language: Code of the language in the file.

    Raises:
        InputError: The file is missing or malformed, a language is missing, an image occurs twice, or images
            are missing.
    """
    captions = read_crossmodal(folder, language)
    return assemble("xm3600", "Crossmodal-3600", captions, lambda key: images / f"{key}.jpg", images)


def read_crossmodal(folder: Path, language: str) -> dict[str, Captions]:
    """Return the captions of each image in English and another language, by language code.

    Raises:
        InputError: As in `open_crossmodal`, apart from images.
    """
    captions: dict[str, dict[str, Sequence[str]]] = {
        code: {}
        for code in (language, ENGLISH)  # the tested language first
    }
    for place, entry in read_json_lines(folder / CAPTIONS_FILE):
        name = plain_name(required(entry, KEY, place), KEY, place)
        for code, of_image in captions.items():
            add_unique(of_image, name, _captions(entry, code, place), KEY, place)
    return dict(captions)


def _captions(entry: Mapping[str, Any], code: str, place: str) -> Sequence[str]:
    of_code = entry.get(code)
    if not isinstance(of_code, dict):
        known = ", ".join(key for key, value in entry.items() if isinstance(value, dict)) or "none"
        raise InputError(f"{place}: must have captions in the language {code!r}, got {known}")
    return sentences(required(of_code, "caption", f"{place}, {code!r}"), "caption", place)
