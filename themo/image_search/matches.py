"""A picture found by a query."""

from __future__ import annotations

from dataclasses import dataclass

CUTOFF = 0.5
"""Chance below which a match is unlikely; measured in ``docs/experiments/nothing-like-that.md``."""


@dataclass(frozen=True)
class Match:
    """A picture found by a query.

    Attributes:
        name: Path below the folder.
        score: Cosine of its vector and the query's.
        copies: Other files with the same bytes, by name.
        duplicates: Files of near-duplicates folded into this match, the best first.
        chance: Chance that the picture is relevant, 0 to 1 (`themo.image_search.chance`); None: not known.
    """

    name: str
    score: float
    copies: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    chance: float | None = None

    @property
    def is_unlikely(self) -> bool:
        """Whether the chance is known and below `CUTOFF`."""
        return self.chance is not None and self.chance < CUTOFF
