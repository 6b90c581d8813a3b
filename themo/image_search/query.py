"""A query of a picture search: texts and pictures to resemble or to avoid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Query:
    """Texts and pictures that a match should resemble, and those that it should not resemble.

    Attributes:
        texts: Spanish texts to look for.
        like: Picture files to resemble.
        minus: Spanish texts to avoid.
        unlike: Picture files to avoid.
    """

    texts: tuple[str, ...] = ()
    like: tuple[Path, ...] = ()
    minus: tuple[str, ...] = ()
    unlike: tuple[Path, ...] = ()

    @property
    def is_one_text(self) -> bool:
        """Whether the query is a single text, with nothing else."""
        return len(self.texts) == 1 and not (self.like or self.minus or self.unlike)

    @property
    def title(self) -> str:
        """The query on one line: ``un perro + beach.jpg − un gato``; a text alone is itself."""
        added = [*self.texts, *(path.name for path in self.like)]
        removed = [*self.minus, *(path.name for path in self.unlike)]
        return " + ".join(added) + "".join(f" {MINUS} {each}" for each in removed)
