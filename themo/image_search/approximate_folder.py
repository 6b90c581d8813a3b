"""The files of an approximate index: the folder ``pictures-<digest>.approximate`` beside the exact index.

    lists.faiss  inverted lists (`themo.image_search.lists`)
    spread.npy   (E, E) float32 covariance of the vectors: weighs the terms of a query
    pixels.npy   (M,) uint64 of the pixels of the pictures in the lists, in the order of the lists' numbers
    about.json   form; SHA-256 of the other files; recall

The folder is written under a temporary name and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from themo.files.atomic import replace_folder, write_text
from themo.files.cache import digest_file
from themo.image_search.lists import Lists
from themo.image_search.pieces import Vectors
from themo.process.progress import console

_FORM = 2
"""Version of the format; a new number makes new lists."""
_LISTS, _SPREAD, _PIXELS, _ABOUT = "lists.faiss", "spread.npy", "pixels.npy", "about.json"

Pixels = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Recall:
    """Measured recall of the lists: the share of the exact best pictures that they find.

    Attributes:
        share: The share, 0 to 1; NaN while it is being measured.
        n_texts: Number of texts.
        n_probes: Number of lists that a query searches.
        texts: SHA-256 of the texts' vectors, since recall depends on the student.
    """

    share: float
    n_texts: int
    n_probes: int
    texts: str


@dataclass(frozen=True)
class Built:
    """Inverted lists with their covariance, pictures and recall.

    Attributes:
        lists: The lists.
        spread_EE: Covariance of the vectors.
        pixels: `themo.image_search.index.ImageIndex.pixels` of the M pictures in the lists.
        recall: The last measurement; None: not measured yet.
    """

    lists: Lists
    spread_EE: Vectors
    pixels: Pixels
    recall: Recall | None = None

    @classmethod
    def read(cls, home: Path) -> Built | None:
        """Read a folder; None if missing, and with a warning if damaged or of another version."""
        if not home.exists():
            return None
        try:
            about = json.loads((home / _ABOUT).read_text(encoding="utf-8"))
            if (about["form"], about["files"]) != (_FORM, _digests(home)):
                raise ValueError
            recall = None if about["recall"] is None else Recall(**about["recall"])
            lists = Lists.read(home / _LISTS)
            spread_EE, pixels = (np.load(home / name, allow_pickle=False) for name in (_SPREAD, _PIXELS))
        except (OSError, ValueError, KeyError, TypeError):
            console.print(f"{home} is damaged or of another version; building it again")
            return None
        return cls(lists, spread_EE, pixels, recall)

    def write(self, home: Path) -> None:
        """Write the folder, replacing a previous one."""

        def fill(folder: Path) -> None:
            self.lists.write(folder / _LISTS)
            np.save(folder / _SPREAD, self.spread_EE)
            np.save(folder / _PIXELS, self.pixels)
            (folder / _ABOUT).write_text(json.dumps(self._about(_digests(folder))), encoding="utf-8")

        replace_folder(home, fill)

    def write_recall(self, home: Path) -> None:
        """Write the recall into the folder."""
        write_text(home / _ABOUT, json.dumps(self._about(_digests(home))))

    def _about(self, digests: Mapping[str, str]) -> dict[str, Any]:
        recall = None if self.recall is None else asdict(self.recall)
        return {"form": _FORM, "files": digests, "recall": recall}


def _digests(folder: Path) -> dict[str, str]:
    return {name: digest_file(folder / name) for name in (_LISTS, _SPREAD, _PIXELS)}
