"""Answers to the queries of a picture search: the one way from texts and pictures to matches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from themo.image_search.chance import Calibration, too_few_pictures, too_few_references
from themo.image_search.folding import Fold, fold
from themo.image_search.pieces import Vectors
from themo.image_search.query import Query
from themo.image_search.query_terms import Terms, encode
from themo.image_search.references import load_references

if TYPE_CHECKING:
    from themo.image_search.approximate import ApproximateIndex
    from themo.image_search.index import ImageIndex, Match
    from themo.model import Model


@dataclass(frozen=True)
class Answer:
    """The matches of a query.

    Attributes:
        query: The query.
        matches: Matches, the best first.
        is_approximate: Whether some of the best pictures may be missing.
    """

    query: Query
    matches: Sequence[Match]
    is_approximate: bool = False

    @property
    def n_folded(self) -> int:
        """Number of files folded into the matches as near-duplicates."""
        return sum(len(match.duplicates) for match in self.matches)

    @property
    def is_nothing_like_that(self) -> bool:
        """Whether there are matches, and all of them are unlikely."""
        return bool(self.matches) and all(match.is_unlikely for match in self.matches)


class Answerer:
    """Answers queries over an open index; built once, used for many queries.

    Args:
        model: The student, with its teacher.
        index: The pictures.
        approximate: Names the candidates of a query; None: all pictures are compared.
    """

    def __init__(self, model: Model, index: ImageIndex, approximate: ApproximateIndex | None = None) -> None:
        self.model = model
        self.index = index
        self.approximate = approximate

    def answer(
        self,
        queries: Sequence[Query],
        n_best: int,
        *,
        min_chance: float | None = None,
        fold_duplicates: bool = True,
    ) -> list[Answer]:
        """Return an answer for each query.

        Matches have a chance if the query is a single text and `uncalibrated` is None.

        Args:
            queries: The queries.
            n_best: Greatest number of matches per query.
            min_chance: Least chance of a match, 0 to 1, where chances are known; None: no match is left out.
            fold_duplicates: Whether near-duplicates are folded into the best of them.

        Raises:
            InputError: A picture of a query is none or cannot be read, the terms of a query cancel out, or
                the cache cannot be written.
        """
        terms = encode(self.model, queries)
        answers = []
        for query, each, scored in zip(queries, terms, self._scored(terms, n_best), strict=True):
            matches = self._matches(query, scored, n_best, fold_duplicates)
            if scored.is_part and len(matches) < n_best:  # near-duplicates fill the candidates
                (scored,) = self._all_scored([each])
                matches = self._matches(query, scored, n_best, fold_duplicates)
            if min_chance is not None:
                matches = [match for match in matches if match.chance is None or match.chance >= min_chance]
            answers.append(Answer(query, matches, scored.is_part))
        return answers

    def nearest(self, query_E: Vectors, n_best: int) -> list[Match]:
        """Return the best matches of a vector of length 1, the best first, without a chance."""
        if self.approximate is not None and self.approximate.holds(n_best):
            (matches,) = self.approximate.part(query_E, n_best).search(query_E[None], n_best)
            if len(matches) == n_best:
                return matches
        (matches,) = self.index.search(query_E[None], n_best)
        return matches

    @property
    def uncalibrated(self) -> str | None:
        """Reason why no match has a chance; None: matches of a single text have one."""
        return self._calibration if isinstance(self._calibration, str) else None

    @cached_property
    def _calibration(self) -> Calibration | str:
        n_files = int(self.index.file_of.max(initial=-1)) + 1
        if (reason := too_few_pictures(n_files)) is not None:
            return reason
        references = load_references(self.model)
        return too_few_references(references) or Calibration.of(references)

    def _scored(self, terms: Sequence[Terms], n_best: int) -> Iterable[_Scored]:
        if self.approximate is None or not self.approximate.holds(n_best):
            return self._all_scored(terms)
        return (_part_scored(self.approximate, each, n_best) for each in terms)

    def _all_scored(self, terms: Sequence[Terms]) -> Iterator[_Scored]:
        """Yield all pictures with their scores; every vector is read once for all queries."""
        scores_NK = self.index.scores(np.concatenate([each.vectors_KE for each in terms]))
        ends = np.cumsum([len(each.signs_K) for each in terms])
        for each, part_NK in zip(terms, np.split(scores_NK, ends[:-1], axis=1), strict=True):
            yield _Scored(self.index, *each.combine(part_NK))

    def _matches(self, query: Query, scored: _Scored, n_best: int, fold_duplicates: bool) -> list[Match]:
        index, scores_N = scored.index, scored.scores_N
        ranked = index.ranked(scores_N, n_best)
        if fold_duplicates:
            folds = fold(ranked, index.vectors, n_best)
        else:
            folds = [Fold(rows) for rows in islice(ranked, n_best)]
        matches = [_match(index, each, scores_N) for each in folds]
        if not query.is_one_text or isinstance(self._calibration, str) or not folds:
            return matches
        pictures_ME = index.vectors([each.rows[0] for each in folds])
        chances = self._calibration.chances(scored.query_E, pictures_ME)
        return [replace(match, chance=float(c)) for match, c in zip(matches, chances, strict=True)]


@dataclass(frozen=True)
class _Scored:
    """Pictures with their scores for a query.

    Attributes:
        index: All pictures, or a part of them.
        scores_N: (N,) cosines of the pictures and the query.
        query_E: float32 vector of the query, of length 1.
        is_part: Whether the index is a part.
    """

    index: ImageIndex
    scores_N: Vectors
    query_E: Vectors
    is_part: bool = False


def _part_scored(approximate: ApproximateIndex, terms: Terms, n_best: int) -> _Scored:
    query_E = terms.sum(approximate.deviations(terms.vectors_KE))
    part = approximate.part(query_E, n_best)
    return _Scored(part, part.scores(query_E[None])[:, 0], query_E, is_part=True)


def _match(index: ImageIndex, found: Fold, scores_N: Vectors) -> Match:
    match = index.match(found.rows, scores_N)
    names = (index.names[row] for rows in found.duplicates for row in rows)
    return replace(match, duplicates=tuple(names))
