"""Searches under faults: machines, drivers and servers killed, a disk filled, and what comes out of it all.

    python -m benchmarks chaos --rounds 20 --seed 1

A round is a search of real processes on a Ray cluster of this machine, whose training is a formula, and
faults at random moments of it. Afterwards nothing may be lost, done twice, or different.
"""

from __future__ import annotations

from benchmarks.measure import Options, Row


def run(options: Options) -> list[Row]:
    """Rows for the kills, and for what was found wrong, which must be nothing."""
    from benchmarks.chaos.rounds import run

    return run(options)
