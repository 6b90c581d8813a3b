"""Names of corpora in settings: those outside the miniature, and the experiment named after them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from themo.config.catalogue import parse_weighted
from themo.config.presets import DEFAULT_PRESET, MINIATURE

_LONGEST_NAME = 60


def own_corpora(names: Iterable[str]) -> list[str]:
    """Return the corpora outside the miniature, without their weights."""
    plain = [parse_weighted(name)[1] for name in names]
    return [name for name in plain if not name.startswith(MINIATURE)]


def experiment_of(names: Iterable[str]) -> str:
    """Return an experiment's name from its own corpora: `pairs-nandu` from `pairs.tsv` and `ñandú`."""
    stems = "-".join(PurePath(name).name.partition(".")[0] for name in names)
    letters = "".join(c for c in unicodedata.normalize("NFKD", stems) if not unicodedata.combining(c))
    plain = re.sub("[^A-Za-z0-9_-]+", "-", letters)[:_LONGEST_NAME].strip("-_")
    return plain if plain not in ("", DEFAULT_PRESET) else f"own-{plain or 'corpus'}"
