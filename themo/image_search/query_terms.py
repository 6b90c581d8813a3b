"""The vectors of a query's texts and pictures, and their sum.

The vectors of a text and a picture cannot be added unscaled: in CLIP's space picture-picture cosines vary
several times as much as text-picture cosines, so that the picture would dominate. Each term is divided by the
standard deviation of its scores over the folder. The sum of standardised scores is again the score of one
vector, so the ranking stays exact.

Shape suffixes: K terms of a query, N pictures, E dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from themo.errors import InputError
from themo.image_search.pieces import Vectors
from themo.image_search.query import Query
from themo.models.image_files import open_rgb, upright

if TYPE_CHECKING:
    from themo.model import Model

SHORTEST = 1e-6
"""Least length of a sum of terms; a shorter sum is rounding error."""


@dataclass(frozen=True)
class Terms:
    """The terms of a query.

    Attributes:
        vectors_KE: float32 of length 1.
        signs_K: 1 for added terms, -1 for subtracted ones.
    """

    vectors_KE: Vectors
    signs_K: Vectors

    def sum(self, deviations: Callable[[Vectors], Vectors]) -> Vectors:
        """Return the sum of all terms, (E,) of length 1.

        Args:
            deviations: Returns the (K,) standard deviations of (K, E) vectors' products with all pictures;
                called for several terms.

        Raises:
            InputError: The terms cancel out.
        """
        weights_K = self.signs_K if self._is_one else self._weights(deviations(self.vectors_KE))
        return weights_K @ self.vectors_KE

    @property
    def _is_one(self) -> bool:
        return len(self.signs_K) == 1 and bool(self.signs_K[0] > 0)

    def _weights(self, deviations_K: Vectors) -> Vectors:
        """Return the weight of each term in a sum of length 1."""
        spreads_K = deviations_K.copy()
        spreads_K[spreads_K < SHORTEST] = 1  # in a folder of equal pictures all scores are equal
        weights_K: Vectors = self.signs_K / spreads_K
        weights_K /= np.abs(weights_K).max()
        length = float(np.linalg.norm(weights_K @ self.vectors_KE))
        if length < SHORTEST:
            raise InputError("search: the added and subtracted texts and pictures cancel out")
        weights_K /= length
        return weights_K


def open_pictures(paths: Sequence[Path], option: str) -> list[Image.Image]:
    """Decode the pictures of an option, upright.

    Raises:
        InputError: A file is not a picture or cannot be read; the message names the option.
    """
    pictures = []
    for path in paths:
        try:
            pictures.append(upright(open_rgb(path)))
        except InputError as error:
            raise InputError(f"{option} {error}") from None
    return pictures


def encode(model: Model, queries: Sequence[Query]) -> list[Terms]:
    """Return the terms of each query; all texts are encoded at once, and each picture once.

    Raises:
        InputError: A file of a query is no picture, or cannot be read.
    """
    texts = list(dict.fromkeys(text for query in queries for text in (*query.texts, *query.minus)))
    vectors: dict[str | Path, Vectors] = {}
    if texts:
        vectors |= zip(texts, model.encode(texts, normalize=True), strict=True)
    files = {path: "--like" for query in queries for path in query.like}
    files |= {path: "--unlike" for query in queries for path in query.unlike if path not in files}
    if files:
        pictures = [open_pictures([path], option)[0] for path, option in files.items()]
        vectors |= zip(files, model.encode_images(pictures), strict=True)
    return [_terms(query, vectors) for query in queries]


def _terms(query: Query, vectors: dict[str | Path, Vectors]) -> Terms:
    added: list[str | Path] = [*query.texts, *query.like]
    removed: list[str | Path] = [*query.minus, *query.unlike]
    signs = np.repeat(np.array([1, -1], np.float32), [len(added), len(removed)])
    return Terms(np.stack([vectors[term] for term in (*added, *removed)]), signs)
