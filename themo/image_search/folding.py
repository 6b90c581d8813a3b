"""Folding of near-duplicates: a ranking shows only the best of pictures that look the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from themo.image_search.pieces import Vectors

NEAR_DUPLICATE = 0.98
"""Least cosine of the vectors of near-duplicates; measured in ``docs/experiments/near-duplicates.md``."""

Rows = tuple[int, ...]
"""Rows of files with the same bytes."""


@dataclass
class Fold:
    """A file and its near-duplicates.

    Attributes:
        rows: Rows of the best file.
        duplicates: Rows of the near-duplicates of lower rank, file by file.
    """

    rows: Rows
    duplicates: list[Rows] = field(default_factory=list)


def fold(ranked: Iterable[Rows], vectors: Callable[[Sequence[int]], Vectors], n_best: int) -> list[Fold]:
    """Return the first `n_best` different pictures of a ranking, each with its near-duplicates.

    A file whose vector has a cosine of `NEAR_DUPLICATE` or more with an earlier picture is folded into the
    first such picture. The ranking is read up to the picture that would be number ``n_best + 1``.

    Args:
        ranked: Rows of each file, the best first.
        vectors: Returns the (n, E) vectors of n rows, of length 1.
        n_best: Greatest number of pictures.
    """
    folds: list[Fold] = []
    leaders_LE: Vectors | None = None
    for rows in ranked:
        (vector_E,) = vectors(rows[:1])
        if leaders_LE is not None:
            (near,) = np.nonzero(leaders_LE @ vector_E >= NEAR_DUPLICATE)
            if len(near):
                folds[near[0]].duplicates.append(rows)
                continue
        if len(folds) == n_best:
            break
        folds.append(Fold(rows))
        leaders_LE = np.vstack([leaders_LE, vector_E]) if leaders_LE is not None else vector_E[None]
    return folds
