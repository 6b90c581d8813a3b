"""Folding of near-duplicates in a ranking."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from themo.image_search.folding import NEAR_DUPLICATE, fold
from themo.image_search.pieces import Vectors


def at(cosine: float) -> list[float]:
    """A vector of length 1 with a cosine to (1, 0)."""
    return [cosine, math.sqrt(1 - cosine**2)]


def folded(vectors: Sequence[Sequence[float]], n_best: int) -> list[tuple[int, list[int]]]:
    table = np.array(vectors, np.float32)

    def look_up(rows: Sequence[int]) -> Vectors:
        return table[list(rows)]

    folds = fold(((row,) for row in range(len(table))), look_up, n_best)
    return [(each.rows[0], [rows[0] for rows in each.duplicates]) for each in folds]


@pytest.mark.parametrize(
    ("cosine", "is_folded"), [(NEAR_DUPLICATE + 1e-4, True), (NEAR_DUPLICATE - 1e-4, False)]
)
def test_the_threshold_decides(cosine: float, is_folded: bool) -> None:
    assert folded([[1, 0], at(cosine)], 5) == ([(0, [1])] if is_folded else [(0, []), (1, [])])


def test_a_duplicate_belongs_to_the_first_picture_near_it() -> None:
    # 1 is near 0, 2 is near 1 alone, and 1 is no leader: 2 is a picture of its own; 3 is near 0 and 2
    angles = [0.0, 0.19, 0.38, 0.19]
    vectors = [[math.cos(angle), math.sin(angle)] for angle in angles]
    assert folded(vectors, 5) == [(0, [1, 3]), (2, [])]


def test_the_ranking_is_read_up_to_the_next_picture() -> None:
    taken = []

    def ranked() -> Iterator[tuple[int, ...]]:
        for row in range(6):
            taken.append(row)
            yield (row,)

    table = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [-1, 0], [1, 0]], np.float32)
    folds = fold(ranked(), lambda rows: table[list(rows)], 2)
    assert [(each.rows, each.duplicates) for each in folds] == [((0,), [(2,)]), ((1,), [(3,)])]
    assert taken == [0, 1, 2, 3, 4]


def test_an_empty_ranking_has_no_folds() -> None:
    assert fold(iter(()), lambda _: np.empty((0, 2), np.float32), 3) == []
