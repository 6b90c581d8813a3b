"""The sets of captions that settings name, opened for a test in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from themo.config.presets import MINIATURE
from themo.config.settings import Settings
from themo.data.caption_sets import CaptionSet, as_caption_set
from themo.data.crossmodal3600 import open_crossmodal
from themo.data.sources import Sources
from themo.data.xflickrco import open_xflickrco
from themo.data.xtd10 import Xtd10
from themo.errors import InputError, MissingInputError
from themo.process.progress import console

_OPEN: dict[str, tuple[str, Callable[[Path, Path, str], CaptionSet]]] = {
    "xm3600": ("Crossmodal-3600", open_crossmodal),
    "xflickrco": ("xFlickr&CO", open_xflickrco),
}
"""Prefix of a set's settings to its title and its reader."""


def settings_of_sets(settings: Settings) -> list[str]:
    """Return the names of the settings of all sets that have images, in ``benchmarks``."""
    tests = settings.benchmarks
    return [
        f"{prefix}_{part}"
        for prefix in _OPEN
        if getattr(tests, f"{prefix}_images") is not None
        for part in ("captions", "images")
    ]


def open_caption_sets(settings: Settings, sources: Sources, xtd10: Xtd10 | None) -> list[CaptionSet]:
    """Open XTD10 and the sets whose images are given; name the sets without images.

    Raises:
        InputError: A file is missing or malformed.
    """
    sets = []
    if xtd10 is not None:
        is_toy = str(settings.benchmarks.captions).startswith(MINIATURE)
        sets.append(as_caption_set(xtd10, "miniature" if is_toy else "XTD10"))
    return [*sets, *_given(settings, sources)]


def _given(settings: Settings, sources: Sources) -> Iterator[CaptionSet]:
    tests = settings.benchmarks
    for prefix, (title, read) in _OPEN.items():
        captions, images = f"{prefix}_captions", f"{prefix}_images"
        if getattr(tests, images) is None:
            if getattr(tests, captions) is not None:
                console.print(f"Not tested on {title}: benchmarks.{images} is null")
            continue
        folders = [sources.path(getattr(tests, name), f"benchmarks.{name}") for name in (captions, images)]
        try:
            yield read(folders[0], folders[1], tests.language)
        except MissingInputError as error:  # no command fetches images
            raise InputError(str(error)) from None
