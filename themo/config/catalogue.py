"""The catalogue: named parallel corpora and their Parquet files on the Hugging Face hub.

The datasets library no longer loads data sets with scripts, so all entries are Parquet files of the
publishers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A corpus on the hub.

    Attributes:
        repository: Data set, owner/name.
        files: Glob pattern of its files.
        columns: English and Spanish column; ``a.b`` is field b of a struct.
        only: Column and required value, for files that also hold other languages; None keeps all rows.
        source: Authors and licence.
    """

    repository: str
    files: str
    columns: tuple[str, str]
    source: str
    only: tuple[str, str] | None = None


CATALOGUE = {
    "opus-100": Entry(
        "Helsinki-NLP/opus-100",
        "en-es/train-*.parquet",
        ("translation.en", "translation.es"),
        "OPUS-100, Zhang et al. (2020): a million pairs from OPUS; each part has its own terms",
    ),
    "talks": Entry(
        "sentence-transformers/parallel-sentences-talks",
        "en-es/train-*.parquet",
        ("english", "non_english"),
        "TED talks, Reimers and Gurevych (2020); CC BY-NC-ND",
    ),
    "tatoeba": Entry(
        "sentence-transformers/parallel-sentences-tatoeba",
        "en-es/train-*.parquet",
        ("english", "non_english"),
        "Tatoeba; CC BY 2.0 FR",
    ),
    "image-captions": Entry(
        "M-CLIP/ImageCaptions-7M-Translations",
        "*.parquet",
        ("caption", "caption_multi"),
        "Captions of CC3M, CC12M and SBU, the Spanish ones of 48 languages, translated by Opus models: "
        "training data of Multilingual-CLIP, Carlsson et al. (2022); about 146,000 pairs",
        only=("multi_language_code", "es"),
    ),
}

_WEIGHTED = re.compile(r"(\d+(?:\.\d+)?)\*(.+)")


def parse_weighted(name: str) -> tuple[float, str]:
    """Return weight and name of ``2*talks``; the weight of a plain name is 1. Settings refuse 0."""
    match = _WEIGHTED.fullmatch(name)
    return (1.0, name) if match is None else (float(match[1]), match[2])
