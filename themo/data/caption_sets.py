"""Test sets of captions that are JSON lines: one or more captions an image, in several languages.

`themo.data.crossmodal3600` and `themo.data.xflickrco` read theirs by the functions here. Every image must be
there: scores of an incomplete test set would not be comparable.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from themo.data.missing_files import refuse_missing
from themo.data.xtd10 import Xtd10
from themo.errors import InputError
from themo.models.normal_form import canonical, is_blank

Captions = Mapping[str, Sequence[str]]
"""Name of an image to its captions in one language, the first one first."""


@dataclass(frozen=True)
class CaptionSet:
    """Images with captions in several languages; a language has captions of its own.

    Attributes:
        key: Name in ``test.json``, such as ``xm3600``.
        title: Name in tables.
        images: The I image files.
        captions: Language code to its T captions.
        image_of_caption: Language code to (T,) indices into `images`; every image has a caption.
    """

    key: str
    title: str
    images: tuple[Path, ...]
    captions: Mapping[str, tuple[str, ...]]
    image_of_caption: Mapping[str, tuple[int, ...]]


def as_caption_set(xtd10: Xtd10, title: str) -> CaptionSet:
    """Return XTD10, where line i of every language describes the same image, as a `CaptionSet`."""
    image_of_caption = dict.fromkeys(xtd10.captions, xtd10.image_of_caption)
    return CaptionSet("xtd10", title, xtd10.images, xtd10.captions, image_of_caption)


def assemble(
    key: str, title: str, captions: Mapping[str, Captions], path_of: Callable[[str], Path], folder: Path
) -> CaptionSet:
    """Make a `CaptionSet` of captions by language and image.

    Args:
        key: As in `CaptionSet`.
        title: As in `CaptionSet`.
        captions: Language code to the captions of each image; all languages have the same images.
        path_of: Path of an image, by its name.
        folder: Folder of the images, for the message about missing ones.

    Raises:
        MissingInputError: Images are missing; the message says how many, and names the first.
    """
    names = list(next(iter(captions.values())))
    paths = tuple(path_of(name) for name in names)
    refuse_missing(folder, (path for path in paths if not path.is_file()), len(paths), "images are missing")
    texts, image_of_caption = {}, {}
    for code, of_image in captions.items():
        texts[code] = tuple(text for name in names for text in of_image[name])
        image_of_caption[code] = tuple(i for i, name in enumerate(names) for _ in of_image[name])
    return CaptionSet(key, title, paths, texts, image_of_caption)


def read_json_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the JSON objects of a UTF-8 file, one a line, each with its place "FILE, line N" for messages.

    Raises:
        InputError: The file cannot be read or has no line, or a line is no JSON object.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    lines = content.rstrip().split(b"\n")  # splitlines() would also split inside a caption, as at U+2028
    for number, line in enumerate(lines, start=1):
        place = f"{file}, line {number}"
        try:
            entry = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except ValueError:  # of UTF-8 and of JSON
            entry = None
        if not isinstance(entry, dict):
            raise InputError(f"{place}: must be a JSON object in UTF-8, got {line[:60]!r}")
        yield place, entry


def required(entry: Mapping[str, Any], key: str, place: str) -> Any:
    """Return the value of a key.

    Raises:
        InputError: The key is missing.
    """
    if key not in entry:
        raise InputError(f"{place}: must have the key {key!r}, got {', '.join(map(repr, entry)) or 'none'}")
    return entry[key]


def sentences(value: Any, key: str, place: str) -> tuple[str, ...]:
    """Return the captions under a key in canonical form.

    Raises:
        InputError: The value is no list of texts, is empty, or has a blank text.
    """
    is_list = isinstance(value, list) and value and all(isinstance(text, str) for text in value)
    if not is_list or any(map(is_blank, value)):
        raise InputError(f"{place}: {key!r} must be a list of captions, none of them blank, got {value!r}")
    return tuple(canonical(text.strip()) for text in value)


def add_unique(
    captions: dict[str, Sequence[str]], name: str, texts: Sequence[str], key: str, place: str
) -> None:
    """Add the captions of an image.

    Raises:
        InputError: The image has captions already; `key` is the key of its name.
    """
    if name in captions:
        raise InputError(f"{place}: {key!r} must be unique in the file, got {name!r} again")
    captions[name] = texts


def plain_name(value: Any, key: str, place: str) -> str:
    """Return a name that leads to no other folder.

    Raises:
        InputError: The value is no such text.
    """
    if not isinstance(value, str) or not value or Path(value).name != value or "\0" in value:
        raise InputError(f"{place}: {key!r} must be a name without folders, got {value!r}")
    return value
