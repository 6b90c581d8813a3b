"""Which parts of a run are the miniature's and which a user's own, and what cannot go together.

The default preset is the miniature, whose teacher knows drawn scenes and nothing else. An own corpus under it
trains without an error and learns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING

from themo.config.catalogue import parse_weighted
from themo.config.presets import DEFAULT_PRESET, presets
from themo.errors import InputError

if TYPE_CHECKING:
    from themo.config.settings import Settings

MINIATURE = f"{DEFAULT_PRESET}:"
"""Before the name of a file of the embedded world."""

_LONGEST_NAME = 60


def own_corpora(names: Iterable[str]) -> list[str]:
    """Those corpora that are not the miniature's, without their weights."""
    plain = [parse_weighted(name)[1] for name in names]
    return [name for name in plain if not name.startswith(MINIATURE)]


def experiment_of(names: Iterable[str]) -> str:
    """Name of an experiment on own corpora: their file names, `pairs-talks` for `pairs.tsv` and `talks`."""
    stems = [PurePath(name).name.partition(".")[0] for name in names]
    plain = re.sub("[^A-Za-z0-9_-]+", "-", "-".join(stems))[:_LONGEST_NAME].strip("-_")
    return plain if plain not in ("", DEFAULT_PRESET) else f"own-{plain or 'corpus'}"


def refuse_toy_teacher(settings: Settings) -> None:
    """Refuse an own corpus for which nobody chose a teacher, so that the miniature's would teach.

    Args:
        settings: Of the default preset and options, where neither a preset nor a file was named.

    Raises:
        InputError: It has an own corpus and the miniature's teacher.
    """
    own = own_corpora(settings.data.corpus)
    if own and _learns_from_miniature(settings):
        real = ", ".join(name for name in presets() if name != DEFAULT_PRESET)
        raise InputError(
            f"--corpus {' '.join(own)} needs a teacher that knows its sentences: name a preset by --preset "
            f"({real}), or give vectors of a teacher of your own by --targets FILE.npy; --preset "
            f"{DEFAULT_PRESET} trains on it with the toy teacher, which knows drawn shapes alone"
        )


def toy_parts(settings: Settings) -> list[str]:
    """A line for each part of the miniature that an own corpus is trained with."""
    own = " ".join(own_corpora(settings.data.corpus))
    if not own:
        return []
    lines = []
    if _learns_from_miniature(settings):
        lines.append(
            f"Warning: {own} is learnt from the miniature's toy teacher, which knows drawn shapes alone: the "
            "student finds no other pictures. Real teachers: --preset NAME, or --targets FILE.npy"
        )
    if settings.student.backbone.startswith(MINIATURE):
        lines.append(
            f"Warning: {own} is read by the miniature's toy student, whose vocabulary holds the words of "
            "drawn scenes alone. Real encoders: --preset NAME, or --backbone NAME --backbone-weights"
        )
    return lines


def _learns_from_miniature(settings: Settings) -> bool:
    return settings.data.targets is None and settings.teacher.architecture.startswith(MINIATURE)
