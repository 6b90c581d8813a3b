"""XTD10 on disk: captions in several languages of 1,000 MSCOCO images.

The miniature's test images have the same layout, so the same loader reads both. Files outside the layout are
ignored: a full MSCOCO will do. No image is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from themo.data.image_ids import plain_id
from themo.data.missing_files import refuse_missing
from themo.data.text_lines import read_lines
from themo.errors import InputError

ENGLISH = "en"
IMAGE_NAMES = "test_image_names.txt"


def captions_name(language: str) -> str:
    """Return the name of XTD10's caption file of a language code."""
    return f"test_1kcaptions_{language}.txt"


CAPTIONS_FOLDERS = {captions_name("de"): "MIC", captions_name("fr"): "MIC", captions_name("jp"): "STAIR"}
"""Folders of XTD10's repository for languages outside ``XTD10``."""


@dataclass(frozen=True)
class Xtd10:
    """Captions in several languages; line i of each describes the same image; retrieval is text to image.

    Aggarwal and Kale (2020), "Towards Zero-shot Cross-lingual Image Retrieval": 1,000 images of MSCOCO.
    """

    captions: Mapping[str, tuple[str, ...]]
    """Language code to its T captions: the tested language, and English for the ceiling."""
    images: tuple[Path, ...]
    """The I different image files."""
    image_of_caption: tuple[int, ...]
    """(T,) index into `images`."""

    @classmethod
    def open(cls, folder: Path, images: Path, language: str = "es") -> Xtd10:
        """Read captions and find their images.

        Args:
            folder: Holds ``test_image_names.txt`` and ``test_1kcaptions_<language>.txt``, side by side or
                in the subfolders of the original repository (``XTD10``, ``MIC``, ``STAIR``).
            images: Holds ``train2014/COCO_train2014_*.jpg`` and ``val2014/COCO_val2014_*.jpg``.
            language: Code used in the file name. English is always read as well.

        Raises:
            InputError: If a file is missing or not UTF-8, a caption is blank, the numbers of lines differ,
                a name is no MSCOCO name, or images are missing (says how many, and the first).
        """
        names_file = find_file(folder, IMAGE_NAMES)
        names = read_lines(names_file)
        captions = read_captions(folder, language)
        for code, lines in captions.items():
            if len(lines) != len(names):
                raise InputError(
                    f"{_captions_file(folder, code)}: must have as many lines as {names_file.name}, "
                    f"got {len(lines):,} captions for {len(names):,} images"
                )
        index_of_name = {name: index for index, name in enumerate(dict.fromkeys(names))}
        paths = tuple(_coco_path(images, name, names_file) for name in index_of_name)
        refuse_missing(
            images, (path for path in paths if not path.is_file()), len(paths), "images are missing"
        )
        return cls(captions, paths, tuple(index_of_name[name] for name in names))


def read_captions(folder: Path, language: str) -> dict[str, tuple[str, ...]]:
    """Read the captions of a folder in XTD10's layout, in English and another language, line by line.

    Raises:
        InputError: A file is missing or is not UTF-8, or a caption is blank.
    """
    return {
        code: tuple(read_lines(_captions_file(folder, code))) for code in dict.fromkeys((ENGLISH, language))
    }


def read_image_ids(folder: Path) -> frozenset[str]:
    """Return the MSCOCO ids of the images of a folder in XTD10's layout, without leading zeros.

    Raises:
        InputError: The file of names is missing or malformed.
    """
    names_file = find_file(folder, IMAGE_NAMES)
    return frozenset(plain_id(_coco_name(name, names_file)[2]) for name in read_lines(names_file))


def listed_images(folder: Path, images: Path) -> list[Path]:
    """Return the paths of the images of a folder in XTD10's layout, present or missing.

    Raises:
        InputError: The file of names is missing or malformed.
    """
    names_file = find_file(folder, IMAGE_NAMES)
    return [_coco_path(images, name, names_file) for name in read_lines(names_file)]


def _captions_file(folder: Path, language: str) -> Path:
    return find_file(folder, captions_name(language))


def find_file(folder: Path, name: str) -> Path:
    """Return the path of a file of a folder in XTD10's layout; directly in the folder if it is missing."""
    places = [folder / name, *(folder / part / name for part in ("XTD10", "MIC", "STAIR"))]
    return next((place for place in places if place.is_file()), places[0])


def _coco_path(images: Path, name: str, names_file: Path) -> Path:
    return images / _coco_name(name, names_file)[1] / name


def _coco_name(name: str, names_file: Path) -> re.Match[str]:
    """Match an MSCOCO file name: group 1 is the folder, group 2 the id."""
    match = re.fullmatch(r"COCO_(train2014|val2014)_(\d+)\.(?:jpg|png)", name)
    if match is None:
        raise InputError(
            f"{names_file}: names must look like COCO_train2014_000000436508.jpg (or val2014), got {name!r}"
        )
    return match
