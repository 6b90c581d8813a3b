"""Test sets as folders on disk: XTD10 over MSCOCO images, and ImageNet's validation images.

The miniature's test images and the real data sets have the same layouts, so the same loaders read both. Files
outside a layout are ignored: a full MSCOCO or ImageNet will do. No image is decoded. An incomplete test set
is refused, since its scores would not be comparable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from themo.data.image_ids import plain_id
from themo.errors import InputError, MissingInputError
from themo.models.normal_form import canonical, is_blank
from themo.process.progress import track

N_NAMED = 3
"""Number of missing items that an error names; the rest is counted."""

ENGLISH = "en"
IMAGE_NAMES = "test_image_names.txt"
SYNSET = "synset"
"""Heading of the column of classes in a TSV of prompts."""


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
        names_file = _find(folder, IMAGE_NAMES)
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
    names_file = _find(folder, IMAGE_NAMES)
    return frozenset(plain_id(_coco_name(name, names_file)[2]) for name in read_lines(names_file))


def listed_images(folder: Path, images: Path) -> list[Path]:
    """Return the paths of the images of a folder in XTD10's layout, present or missing.

    Raises:
        InputError: The file of names is missing or malformed.
    """
    names_file = _find(folder, IMAGE_NAMES)
    return [_coco_path(images, name, names_file) for name in read_lines(names_file)]


def _captions_file(folder: Path, language: str) -> Path:
    return _find(folder, captions_name(language))


def _find(folder: Path, name: str) -> Path:
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
        raise InputError(f"{folder}: must hold ImageNet's validation files *{suffix}, got none")
    return {path.stem: path for path in files}


def read_synonyms(mapping: Path) -> dict[str, list[str]]:
    """Return the names of each class by synset, the most usual first: ``n01440764 tench, Tinca tinca``.

    Args:
        mapping: ``LOC_synset_mapping.txt``.

    Raises:
        InputError: The file is missing or malformed, or a synset occurs twice.
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
            f"{_first(without)}"
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


def read_lines(path: Path) -> list[str]:
    """Read the stripped lines of a UTF-8 file in canonical form; at least one, blank only at the end.

    Raises:
        InputError: The file cannot be read, is not UTF-8, or has a blank line.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: must be UTF-8, got {error.object[error.start]:#04x} at byte {error.start}"
        ) from None
    if "\0" in text:  # UTF-16 of plain letters is valid UTF-8
        raise InputError(f"{path}: must be UTF-8, got 0x00 at byte {content.index(0)}")
    # splitlines() would also split at separators inside a caption, such as U+2028
    lines = [canonical(line.strip()) for line in text.rstrip().split("\n")]
    for number, line in enumerate(lines, start=1):
        if is_blank(line):
            raise InputError(f"{path}, line {number}: must not be blank")
    return lines


def refuse_missing(folder: Path, missing: Iterable[Path], total: int, what: str) -> None:
    """Refuse a test set with missing files.

    Raises:
        MissingInputError: `missing` is not empty; the message says how many of the `total`, and the first.
    """
    paths = list(missing)
    if paths:
        names = [str(path.relative_to(folder)) for path in paths]
        raise MissingInputError(f"{folder}: {len(paths):,} of {total:,} {what}: {_first(names)}")


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else ""
    return ", ".join(names[:N_NAMED]) + more
