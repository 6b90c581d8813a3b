"""Parts of a run from the miniature and from the user, and their forbidden combinations.

The default preset is the miniature, whose teacher knows only drawn scenes. An own corpus would train on it
without an error and learn nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from themo.config.corpus_names import own_corpora
from themo.config.presets import DEFAULT_PRESET, MINIATURE, presets
from themo.config.settings import Settings, load
from themo.errors import InputError


def load_for_training(
    config: Path | None = None, preset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Return the settings of `load`, with a teacher that knows the corpus.

    Raises:
        InputError: All problems in one line, or an own corpus has no teacher: no preset and no file is named.
    """
    settings = load(config, preset, overrides)
    if config is None and preset is None:
        refuse_toy_teacher(settings)
    return settings


def refuse_toy_teacher(settings: Settings) -> None:
    """Refuse an own corpus if the user chose no teacher and the miniature's would teach it.

    Args:
        settings: Settings of the default preset with options, when neither a preset nor a file was named.

    Raises:
        InputError: The settings have an own corpus and the miniature's teacher.
    """
    own = own_corpora(settings.data.corpus)
    if own and _learns_from_miniature(settings):
        real = ", ".join(name for name in presets() if name != DEFAULT_PRESET)
        raise InputError(
            f"--corpus {' '.join(own)} needs a teacher that knows its sentences: choose one by --preset "
            f"({real}), or give your own teacher's vectors by --targets FILE.npy; --preset "
            f"{DEFAULT_PRESET} uses the toy teacher, which knows only drawn shapes"
        )


def toy_parts(settings: Settings) -> list[str]:
    """Return a warning for each part of the miniature that an own corpus would train with."""
    own = " ".join(own_corpora(settings.data.corpus))
    if not own:
        return []
    lines = []
    if _learns_from_miniature(settings):
        lines.append(
            f"Warning: {own} is taught by the miniature's toy teacher, which knows only drawn shapes: the "
            "student cannot find other pictures. Real teachers: --preset NAME, or --targets FILE.npy"
        )
    if settings.student.backbone.startswith(MINIATURE):
        lines.append(
            f"Warning: {own} is read by the miniature's toy student, whose vocabulary has only words of "
            "drawn scenes. Real encoders: --preset NAME, or --backbone NAME --backbone-weights"
        )
    return lines


def note_on_tests(settings: Settings) -> str | None:
    """Return a note if all test images are the miniature's and no corpus is; else None."""
    corpora, config = settings.data.corpus, settings.benchmarks
    places = (config.images, config.imagenet, config.xm3600_images, config.xflickrco_images)
    tests = [place for place in places if place is not None]
    if len(own_corpora(corpora)) < len(corpora) or not tests:
        return None
    if not all(place.startswith(MINIATURE) for place in tests):
        return None
    return "Note: the test's images are the miniature's drawn scenes, unrelated to the corpus"


def _learns_from_miniature(settings: Settings) -> bool:
    return settings.data.targets is None and settings.teacher.architecture.startswith(MINIATURE)
