"""Refusal of an incomplete test set, since its scores would not be comparable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from themo.errors import MissingInputError

N_NAMED = 3
"""Number of missing items that an error names; the rest is counted."""


def refuse_missing(folder: Path, missing: Iterable[Path], total: int, what: str) -> None:
    """Refuse a test set with missing files.

    Raises:
        MissingInputError: `missing` is not empty; the message says how many of the `total`, and the first.
    """
    paths = list(missing)
    if paths:
        names = [str(path.relative_to(folder)) for path in paths]
        raise MissingInputError(f"{folder}: {len(paths):,} of {total:,} {what}: {first_named(names)}")


def first_named(names: Sequence[str]) -> str:
    """Join the first `N_NAMED` names, with the number of the others."""
    more = f" and {len(names) - N_NAMED:,} more" if len(names) > N_NAMED else ""
    return ", ".join(names[:N_NAMED]) + more
