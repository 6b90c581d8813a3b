"""Answers of a picture search: from queries of texts and pictures to ranked matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    from themo.image_search.index import ImageIndex
    from themo.image_search.matches import Match
    from themo.image_search.ranking import Ranking
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
        """Whether all matches are unlikely; False without matches."""
        return bool(self.matches) and all(match.is_unlikely for match in self.matches)


class Answerer:
    """Answers queries over an open index; built once, used for many queries.

    Args:
        model: The student, with its teacher.
        index: The pictures.
        approximate: Index that selects candidates for a query; None: all pictures are compared.
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
            InputError: A query's file is not a picture or cannot be read, the terms of a query cancel out, or
                the cache cannot be written.
        """
        terms = encode(self.model, queries)
        answers = []
        for query, each, ranking in zip(queries, terms, self._rankings(terms, n_best), strict=True):
            is_part = ranking.index is not self.index
            matches = self._matches(query, ranking, n_best, fold_duplicates)
            if is_part and len(matches) < n_best:  # near-duplicates fill the candidates
                is_part = False
                (ranking,) = self._exact_rankings([each])
                matches = self._matches(query, ranking, n_best, fold_duplicates)
            if min_chance is not None:
                matches = [match for match in matches if match.chance is None or match.chance >= min_chance]
            answers.append(Answer(query, matches, is_part))
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
        """Reason why matches have no chance; None: matches of a single text have a chance."""
        return self._calibration if isinstance(self._calibration, str) else None

    @cached_property
    def _calibration(self) -> Calibration | str:
        n_files = int(self.index.file_of.max(initial=-1)) + 1
        if (reason := too_few_pictures(n_files)) is not None:
            return reason
        calibration = Calibration.of(load_references(self.model))
        return too_few_references(calibration.references) or calibration

    def _rankings(self, terms: Sequence[Terms], n_best: int) -> Iterable[Ranking]:
        if self.approximate is None or not self.approximate.holds(n_best):
            return self._exact_rankings(terms)
        return (_part_ranking(self.approximate, each, n_best) for each in terms)

    def _exact_rankings(self, terms: Sequence[Terms]) -> list[Ranking]:
        return self.index.rankings(np.stack([each.sum(self.index.deviations) for each in terms]))

    def _matches(self, query: Query, ranking: Ranking, n_best: int, fold_duplicates: bool) -> list[Match]:
        index, files = ranking.index, ranking.files(n_best)
        if fold_duplicates:
            folds = fold(files, index.vectors, n_best)
        else:
            folds = [Fold(rows) for rows in islice(files, n_best)]
        matches = [_match(ranking, each) for each in folds]
        if not query.is_one_text or isinstance(self._calibration, str) or not folds:
            return matches
        pictures_ME = index.vectors([each.rows[0] for each in folds])
        chances = self._calibration.chances(ranking.query_E, pictures_ME)
        return [replace(match, chance=float(c)) for match, c in zip(matches, chances, strict=True)]


def _part_ranking(approximate: ApproximateIndex, terms: Terms, n_best: int) -> Ranking:
    query_E = terms.sum(approximate.deviations)
    (ranking,) = approximate.part(query_E, n_best).rankings(query_E[None])
    return ranking


def _match(ranking: Ranking, found: Fold) -> Match:
    names = (ranking.index.names[row] for rows in found.duplicates for row in rows)
    return replace(ranking.match(found.rows), duplicates=tuple(names))
