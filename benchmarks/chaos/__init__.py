"""Searches under faults: workers, nodes, drivers and servers are killed, a disk is filled.

    python -m benchmarks chaos --rounds 20 --seed 1

A round is a search with real processes on a local Ray cluster; training is a formula, and faults occur at
random moments. Afterwards no work may be lost or repeated, and no result may differ.
"""

from __future__ import annotations

from benchmarks.measure import Options, Row


def run(options: Options) -> list[Row]:
    """Rows with the number of faults and of violations, which must be 0."""
    from benchmarks.chaos.rounds import run

    return run(options)
