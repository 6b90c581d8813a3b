"""Exact, lazy ranking of an index's pictures for a query.

If an index has codes (`themo.image_search.codes`), they bound the score of every picture, and stored vectors
are read only for pictures that may be among the best. The ranking equals that of all vectors.

Shape suffixes: N pictures, n some of them, E dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt

from themo.image_search.codes import RoundedQuery
from themo.image_search.codes_folder import CodedPiece
from themo.image_search.matches import Match
from themo.image_search.pieces import Vectors

Rows = npt.NDArray[np.intp]

MOST_COMPARED = 1 / 8
"""Greatest share of pictures whose vectors are read one by one; beyond it, all vectors are read in order."""


class Pictures(Protocol):
    """The pictures that are ranked, as `themo.image_search.index.ImageIndex` holds them."""

    @property
    def names(self) -> tuple[str, ...]:
        """N paths below the folder."""

    @property
    def file_of(self) -> Rows:
        """(N,) numbers, equal for files with the same bytes."""

    @property
    def codes(self) -> tuple[CodedPiece, ...]:
        """Codes of each piece of the vectors."""

    def scores(self, queries_QE: Vectors) -> Vectors:
        """Return the (N, Q) products of all pictures with queries."""

    def scores_of(self, rows: Rows, query_E: Vectors) -> Vectors:
        """Return the (n,) products of some pictures with a query."""

    def vectors(self, rows: Sequence[int] | Rows) -> Vectors:
        """Return the (n, E) vectors of some pictures."""

    def match(self, rows: Sequence[int], score: float) -> Match:
        """Return the match of a file's rows."""


class Scores(Protocol):
    """Scores of pictures for a query."""

    def best(self, n: int) -> tuple[Rows, Vectors]:
        """Return rows and scores of the n best pictures, and of all ties with the last one."""


class AllScores:
    """Scores of all pictures, computed beforehand.

    Args:
        scores_N: Cosines of the pictures and the query.
    """

    def __init__(self, scores_N: Vectors) -> None:
        self._scores_N = scores_N

    def best(self, n: int) -> tuple[Rows, Vectors]:
        """Return rows and scores of the n best pictures, and of all ties with the last one."""
        rows = _not_below(self._scores_N, n)
        return rows, self._scores_N[rows]


class BoundedScores:
    """Scores of pictures that may be among the best, computed on demand.

    Args:
        index: Pictures with codes.
        query_E: float32 vector.
    """

    def __init__(self, index: Pictures, query_E: Vectors) -> None:
        self._index = index
        self._query_E = query_E
        query = RoundedQuery.of(query_E)
        bounds = [piece.bounds(query) for piece in index.codes]
        self._least_N = np.concatenate([each.estimates_P - each.errors_P for each in bounds])
        self._greatest_N = np.concatenate([each.estimates_P + each.errors_P for each in bounds])

    def best(self, n: int) -> tuple[Rows, Vectors]:
        """Return rows and scores of the n best pictures, and of all ties with the last one."""
        candidates = np.flatnonzero(self._greatest_N >= np.partition(self._least_N, -n)[-n])
        if len(candidates) > MOST_COMPARED * len(self._least_N):
            return AllScores(self._index.scores(self._query_E[None])[:, 0]).best(n)
        scores_n = self._index.scores_of(candidates, self._query_E)
        kept = _not_below(scores_n, n)
        return candidates[kept], scores_n[kept]


class Ranking:
    """The files of an index, the best for a query first.

    Args:
        index: The pictures.
        query_E: float32 vector of the query, of length 1.
        scores: Scores of the pictures.
    """

    def __init__(self, index: Pictures, query_E: Vectors, scores: Scores) -> None:
        self.index = index
        self.query_E = query_E
        self._scores = scores
        self._score_of: dict[int, float] = {}

    def files(self, n_first: int) -> Iterator[tuple[int, ...]]:
        """Yield the rows of each distinct file, the best first; equal scores are ordered by name.

        Args:
            n_first: Expected number of files that the caller takes; more are yielded on demand.
        """
        names, file_of = self.index.names, self.index.file_of
        yielded: set[int] = set()
        for n in _growing(n_first, len(names)):
            rows, scores_n = self._scores.best(n)
            self._score_of |= zip(rows.tolist(), scores_n.tolist(), strict=True)
            found: dict[int, list[int]] = {}
            for row in sorted(rows.tolist(), key=lambda row: (-self._score_of[row], names[row])):
                found.setdefault(int(file_of[row]), []).append(row)
            yield from (tuple(same) for file, same in found.items() if file not in yielded)
            yielded.update(found)

    def matches(self, n_best: int) -> list[Match]:
        """Return the best matches, the best first."""
        return [self.match(rows) for rows in islice(self.files(n_best), n_best)]

    def match(self, rows: tuple[int, ...]) -> Match:
        """Return the match of a file's rows, which `files` yielded."""
        return self.index.match(rows, self._score_of[rows[0]])


def _not_below(scores: Vectors, n: int) -> Rows:
    """Return the indices of the n greatest scores, and of ties with the last of them."""
    return np.flatnonzero(scores >= np.partition(scores, -n)[-n])


def _growing(n_best: int, n: int) -> Iterator[int]:
    """Yield growing numbers of rows to inspect, up to all `n`."""
    while 0 < n_best < n:
        yield n_best
        n_best *= 4
    if n:
        yield n
