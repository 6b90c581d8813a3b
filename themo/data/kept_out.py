"""Captions and images of tests and validation, which no training pair may hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from themo.config.settings import Settings
from themo.data.caption_sets import Captions
from themo.data.crossmodal3600 import read_crossmodal
from themo.data.sources import Sources
from themo.data.xflickrco import mscoco_ids, read_xflickrco
from themo.data.xtd10 import read_captions, read_image_ids
from themo.errors import InputError
from themo.process.progress import console

KeptOut = tuple[Iterable[str], Iterable[str]]
"""Captions, and MSCOCO ids of images."""


def texts_and_images_of_tests(settings: Settings, sources: Sources) -> tuple[frozenset[str], frozenset[str]]:
    """Return the captions of tests and validation and the MSCOCO ids of their images.

    With the user's own targets there is no image tower, and no test on images. An unreadable test set is
    skipped with a warning, since training is possible without it.

    Raises:
        InputError: The captions for validation are missing or malformed.
    """
    language, tests = settings.benchmarks.language, settings.benchmarks
    texts: set[str] = set()
    images: set[str] = set()

    def add(read: Callable[[Path, str], KeptOut], place: str, setting: str) -> None:
        captions, ids = read(sources.path(place, setting), language)
        texts.update(captions)
        images.update(ids)

    if settings.data.validation_captions is not None:
        add(_of_xtd10, settings.data.validation_captions, "data.validation_captions")
    for read, name in (
        (_of_xtd10, "captions"),
        (_of_crossmodal, "xm3600_captions"),
        (_of_xflickrco, "xflickrco_captions"),
    ):
        place = getattr(tests, name)
        if place is not None and settings.data.targets is None:
            try:
                add(read, place, f"benchmarks.{name}")
            except InputError as error:
                console.print(f"Training pairs are not compared with the captions of the tests: {error}")
    return frozenset(texts), frozenset(images)


def _of_xtd10(folder: Path, language: str) -> KeptOut:
    lines = read_captions(folder, language).values()
    return (text for of_code in lines for text in of_code), read_image_ids(folder)


def _of_crossmodal(folder: Path, language: str) -> KeptOut:
    return _texts(read_crossmodal(folder, language).values()), ()  # its images are no MSCOCO images


def _of_xflickrco(folder: Path, language: str) -> KeptOut:
    captions = read_xflickrco(folder, language)
    return _texts(captions.values()), mscoco_ids(captions[language])


def _texts(captions: Iterable[Captions]) -> set[str]:
    return {text for of_image in captions for texts in of_image.values() for text in texts}
