"""The two tasks whose learning curves are recorded: the miniature, and real text with given vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.measure import Options
from themo.config import settings as config
from themo.config.settings import Settings

CACHE = Path("logs/bench/cache")


def miniature(options: Options) -> Settings:  # noqa: ARG001 -- generated, without files of the user's
    """The miniature as it ships: three epochs of 30,000 pairs, a report every 8,000."""
    return config.load()


def tatoeba(options: Options) -> Settings:
    """One epoch of Tatoeba's pairs for a BERT of two layers of 128 with BETO's vocabulary.

    Raises:
        FileNotFoundError: `options` lack the folders of the data.
    """
    refusal = options.why_no_real_data()
    if refusal is not None or options.tatoeba is None or options.beto is None:
        raise FileNotFoundError(refusal)
    changes = {
        "corpus": [str(options.tatoeba / "spa.txt")],
        "targets": str(options.tatoeba / "targets.npy"),
        "architecture": "ViT-B-32",  # never loaded: the targets are given
        "backbone": str(options.beto),
        "backbone_weights": False,
        "hidden_size": 128,
        "hidden_layers": 2,
        "dropout": 0.0,
        "epochs": 1,
        "cache_dir": str(CACHE.absolute()),
    }
    return config.load().override(changes)


WORLDS: Mapping[str, Callable[[Options], Settings]] = {"miniature": miniature, "tatoeba": tatoeba}
