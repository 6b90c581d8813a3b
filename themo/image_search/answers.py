"""Answers to the queries of a picture search: the one way from texts and pictures to matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from themo.image_search.query import Query

if TYPE_CHECKING:
    from themo.image_search.index import ImageIndex, Match
    from themo.model import Model


@dataclass(frozen=True)
class Answer:
    """The matches of a query.

    Attributes:
        query: The query.
        matches: Matches, the best first.
        n_folded: Number of files folded into the matches as near-duplicates.
        uncalibrated: Reason why the matches have no chance; None: they have one.
    """

    query: Query
    matches: Sequence[Match]
    n_folded: int = 0
    uncalibrated: str | None = None


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

        Args:
            queries: The queries.
            n_best: Greatest number of matches per query.
            min_chance: Least chance of a match, 0 to 1; None: no match is left out.
            fold_duplicates: Whether near-duplicates are folded into the best of them.

        Raises:
            InputError: A picture of a query cannot be read, or is none.
        """
        raise NotImplementedError
