"""How long ``python -m themo --help`` takes, the interpreter's own start included."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.measure import Goal, Options, Row

RUNS = 7
GOAL_SECONDS = 1.0


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- nothing to choose
    """Wall time of the command, the first run left out: it fills the disk's cache."""
    command = [sys.executable, "-m", "themo", "--help"]
    seconds = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    measured = seconds[1:]
    return [
        Row(
            "python -m themo --help",
            statistics.median(measured),
            "s",
            Goal(GOAL_SECONDS, "<"),
            (min(measured), max(measured)),
            f"median of {RUNS} runs",
            seeds=(),
        )
    ]
