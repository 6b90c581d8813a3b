"""Answers to the queries of a picture search: the one way from texts and pictures to matches."""

from __future__ import annotations

from collections.abc import Sequence
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
    from themo.image_search.index import ImageIndex, Match
    from themo.model import Model


@dataclass(frozen=True)
class Answer:
    """The matches of a query.

    Attributes:
        query: The query.
        matches: Matches, the best first.
    """

    query: Query
    matches: Sequence[Match]

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
    """

    def __init__(self, model: Model, index: ImageIndex) -> None:
        self.model = model
        self.index = index

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
        scores_NK = self.index.scores(np.concatenate([each.vectors_KE for each in terms]))
        ends = np.cumsum([len(each.signs_K) for each in terms])
        answers = []
        for query, each, part_NK in zip(queries, terms, np.split(scores_NK, ends[:-1], axis=1), strict=True):
            matches = self._matches(query, each, part_NK, n_best, fold_duplicates)
            if min_chance is not None:
                matches = [match for match in matches if match.chance is None or match.chance >= min_chance]
            answers.append(Answer(query, matches))
        return answers

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

    def _matches(
        self, query: Query, terms: Terms, scores_NK: Vectors, n_best: int, fold_duplicates: bool
    ) -> list[Match]:
        scores_N, query_E = terms.combine(scores_NK)
        ranked = self.index.ranked(scores_N, n_best)
        if fold_duplicates:
            folds = fold(ranked, self.index.vectors, n_best)
        else:
            folds = [Fold(rows) for rows in islice(ranked, n_best)]
        matches = [self._match(each, scores_N) for each in folds]
        if not query.is_one_text or isinstance(self._calibration, str) or not folds:
            return matches
        pictures_ME = self.index.vectors([each.rows[0] for each in folds])
        chances = self._calibration.chances(query_E, pictures_ME)
        return [replace(match, chance=float(c)) for match, c in zip(matches, chances, strict=True)]

    def _match(self, found: Fold, scores_N: Vectors) -> Match:
        match = self.index.match(found.rows, scores_N)
        names = (self.index.names[row] for rows in found.duplicates for row in rows)
        return replace(match, duplicates=tuple(names))
