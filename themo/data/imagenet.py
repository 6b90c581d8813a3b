"""ImageNet's validation images on disk, with prompts of their classes.

The miniature's test images have the same layout, so the same loader reads both. Files outside the layout are
ignored: a full ImageNet will do. No image is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from themo.data.missing_files import first_named, refuse_missing
from themo.data.text_lines import read_lines
from themo.errors import InputError
from themo.models.normal_form import is_blank
from themo.process.progress import track

SYNSET = "synset"
"""Heading of the column of classes in a TSV of prompts."""


@dataclass(frozen=True)
class ImageNet:
    """Images with one class each, and prompts that name the classes in several languages.

    Deng et al. (2009), Russakovsky et al. (2015): 50,000 validation images, 1,000 classes, as packed for
    the Kaggle challenge "ImageNet Object Localization".
    """

    synsets: tuple[str, ...]
    """The C classes, in the order of ``LOC_synset_mapping.txt``: ``n01440764``, ..."""
    prompts: Mapping[str, tuple[tuple[str, ...], ...]]
    """Language code to (C,) prompts of each class, one or more."""
    images: tuple[Path, ...]
    """The I image files, by name."""
    class_of_image: tuple[int, ...]
    """(I,) index into `synsets`."""

    @classmethod
    def open(cls, folder: Path, prompts: Path) -> ImageNet:
        """Read classes, annotations and prompts, and find the images.

        The annotations decide an image's class, not ``LOC_val_solution.csv``: every packing of the data set
        has them, and Kaggle's CSV was made from them.

        Args:
            folder: Holds ``LOC_synset_mapping.txt``, ``ILSVRC/Data/CLS-LOC/val/*.JPEG`` and
                ``ILSVRC/Annotations/CLS-LOC/val/*.xml``.
            prompts: TSV with a header ``synset``, then one language code per column; one or more rows per
                class.

        Raises:
            InputError: If a file is missing or malformed, an image lacks its annotation or the reverse, an
                annotation names no class of the mapping or several, or a class has no prompt.
        """
        synsets = list(read_synonyms(folder / "LOC_synset_mapping.txt"))
        prompts_of = _read_prompts(prompts, synsets)
        images = _files(folder / "ILSVRC/Data/CLS-LOC/val", ".JPEG")
        annotations = _files(folder / "ILSVRC/Annotations/CLS-LOC/val", ".xml")
        refuse_missing(
            folder,
            (path for stem, path in images.items() if stem not in annotations),
            len(images),
            "images lack an annotation",
        )
        refuse_missing(
            folder,
            (path.with_suffix(".JPEG") for stem, path in annotations.items() if stem not in images),
            len(annotations),
            "annotated images are missing",
        )
        index_of_synset = {synset: index for index, synset in enumerate(synsets)}
        classes = []
        with track("Reading ImageNet's annotations", len(images), "files") as advance:
            for stem in images:
                synset = _synset_of(annotations[stem])
                if synset not in index_of_synset:
                    raise InputError(
                        f"{annotations[stem]}: the object's name must be a synset of LOC_synset_mapping.txt, "
                        f"got {synset!r}"
                    )
                classes.append(index_of_synset[synset])
                advance(1)
        return cls(tuple(synsets), prompts_of, tuple(images.values()), tuple(classes))


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    # file managers leave files whose names start with a dot
    files = sorted(path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))
    if not files:
        raise InputError(f"{folder}: must contain ImageNet's validation files *{suffix}, got none")
    return {path.stem: path for path in files}


def read_synonyms(mapping: Path) -> dict[str, list[str]]:
    """Return the names of each class by synset, the most usual first: ``n01440764 tench, Tinca tinca``.

    Args:
        mapping: ``LOC_synset_mapping.txt``.

    Raises:
        InputError: The file is missing or malformed, or a synset occurs twice or has no name.
    """
    names: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(mapping), start=1):
        synset, *rest = line.split(maxsplit=1)
        if not re.fullmatch(r"n\d{8}", synset):
            raise InputError(
                f"{mapping}, line {number}: must start with a synset like n01440764, got {synset!r}"
            )
        if synset in names:
            raise InputError(f"{mapping}: a synset must occur once, got {synset} again")
        names[synset] = [name.strip() for name in " ".join(rest).split(",")]
        if is_blank(names[synset][0]):
            raise InputError(f"{mapping}, line {number}: must have a name after the synset, got {line!r}")
    return names


def _read_prompts(path: Path, synsets: Sequence[str]) -> dict[str, tuple[tuple[str, ...], ...]]:
    header, *rows = read_lines(path)
    first, *languages = header.split("\t")
    if first != SYNSET or not languages or len(set(languages)) < len(languages) or "" in languages:
        raise InputError(
            f"{path}, line 1: the header must be 'synset' and language codes, "
            f"separated by tabs, got {header!r}"
        )
    of_synset: dict[str, list[list[str]]] = {synset: [] for synset in synsets}
    for number, row in enumerate(rows, start=2):
        synset, *cells = (cell.strip() for cell in row.split("\t"))
        if len(cells) != len(languages) or any(map(is_blank, cells)):
            raise InputError(
                f"{path}, line {number}: needs a prompt in each of {', '.join(languages)}, got {row!r}"
            )
        if synset not in of_synset:
            raise InputError(
                f"{path}, line {number}: must start with a synset of LOC_synset_mapping.txt, got {synset!r}"
            )
        of_synset[synset].append(cells)
    without = [synset for synset, cells in of_synset.items() if not cells]
    if without:
        raise InputError(
            f"{path}: every class needs a prompt, {len(without):,} of {len(synsets):,} have none: "
            f"{first_named(without)}"
        )
    return {
        language: tuple(tuple(cells[column] for cells in of_synset[synset]) for synset in synsets)
        for column, language in enumerate(languages)
    }


def _synset_of(path: Path) -> str:
    """Read ``annotation/object/name`` of a PASCAL VOC file; refuse objects of two classes.

    Expat is several times faster than a tree over 50,000 files, and it refuses a document type, the only
    place for declarations of entities, before it expands anything.
    """
    open_tags: list[str] = []
    names: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:  # noqa: ARG001 (expat's signature)
        open_tags.append(tag)
        if open_tags == ["annotation", "object", "name"]:
            names.append("")

    def end(tag: str) -> None:  # noqa: ARG001 (expat's signature)
        open_tags.pop()

    def text(data: str) -> None:
        if open_tags == ["annotation", "object", "name"]:
            names[-1] += data

    def refuse(*args: object) -> None:  # noqa: ARG001 (expat's signature)
        raise InputError(f"{path}: an annotation must not declare a document type or entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: must be XML: {error}") from None
    found = sorted({name.strip() for name in names})
    if len(found) != 1:
        raise InputError(f"{path}: needs objects of exactly one class, got {', '.join(found) or 'none'}")
    return found[0]
