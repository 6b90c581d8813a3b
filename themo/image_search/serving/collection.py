"""A folder of pictures behind a served page: matches of a text or a picture, and files by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from themo.image_search.index import ImageIndex
from themo.image_search.matches import Match
from themo.image_search.pictures import printable
from themo.image_search.query import Query

if TYPE_CHECKING:
    from themo.image_search.answers import Answerer


@dataclass(frozen=True)
class Collection:
    """A folder's pictures, numbered by the rows of their index.

    Attributes:
        folder: The folder.
        answerer: Answers queries over its index.
        version: Name of the student's version, for readers.
        min_chance: Least chance of a match of a text, 0 to 1; None: no match is left out.
        fold_duplicates: Whether near-duplicates are folded into the best of them.
    """

    folder: Path
    answerer: Answerer
    version: str
    min_chance: float | None = None
    fold_duplicates: bool = True

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.index.names)

    def path(self, number: int) -> Path:
        """Return the file of a picture.

        Raises:
            LookupError: This picture does not exist.
        """
        return self.folder / self._name(number)

    def by_text(self, text: str, n_best: int) -> dict[str, Any]:
        """Return the answer to a text: its best matches, the best first.

        ``cut`` is the number of tokens that are read if the text is longer, else null.
        """
        model = self.answerer.model
        (count,) = model.count_tokens([text])
        (answer,) = self.answerer.answer(
            [Query((text,))], n_best, min_chance=self.min_chance, fold_duplicates=self.fold_duplicates
        )
        return {
            "cut": model.max_length if count > model.max_length else None,
            "nothing_like_that": answer.is_nothing_like_that,
        } | self._answer(answer.matches)

    def similar_to(self, number: int, n_best: int) -> dict[str, Any]:
        """Return the answer to a picture: the pictures that resemble it, without it and its copies.

        Near-duplicates are matches, as they resemble it most.

        Raises:
            LookupError: This picture does not exist.
        """
        name = self._name(number)
        matches = self.answerer.nearest(self.index.vectors([number])[0], n_best + 1)
        others = [match for match in matches if name not in (match.name, *match.copies)]
        return {"name": printable(name)} | self._answer(others[:n_best])

    def sample(self, n: int) -> dict[str, Any]:
        """Return an answer of at most `n` pictures of the whole folder, at equal distances by name."""
        names = self._distinct
        n = min(n, len(names))
        return {"matches": [self._picture(names[i * len(names) // n]) for i in range(n)]}

    def _answer(self, matches: Sequence[Match]) -> dict[str, Any]:
        return {
            "matches": [
                self._picture(match.name)
                | {
                    "score": match.score,
                    "chance": match.chance,
                    "unlikely": match.is_unlikely,
                    "copies": [printable(name) for name in match.copies],
                    "duplicates": [printable(name) for name in match.duplicates],
                }
                for match in matches
            ]
        }

    def _picture(self, name: str) -> dict[str, Any]:
        return {"number": self._numbers[name], "name": printable(name)}

    def _name(self, number: int) -> str:
        if not 0 <= number < len(self):
            raise LookupError(f"no picture {number}")
        return self.index.names[number]

    @property
    def index(self) -> ImageIndex:
        """The index."""
        return self.answerer.index

    @cached_property
    def _distinct(self) -> list[str]:
        """Names of pictures without their copies, in order."""
        firsts = np.unique(self.index.file_of, return_index=True)[1]
        return sorted(self.index.names[row] for row in firsts)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.index.names)}
