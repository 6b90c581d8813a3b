"""Search methods compared on recorded learning curves, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.measure import Options, Row


def run(options: Options) -> list[Row]:
    """The rows of ``python -m benchmarks searches``."""
    from benchmarks.searches.comparison import run  # importers of other modules do not need it

    return run(options)
