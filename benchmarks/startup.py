"""Start time of commands: ``python -m themo --help``, and the check of prepared data."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import Goal, Options, Row
from themo.files.cache import Cache

RUNS = 7
GOAL_SECONDS = 1.0
ENTRY_BYTES = 1_000_000_000
"""Vectors of 500,000 pairs for ViT-L/14."""


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- no options
    """Rows with wall times of the command, and of the first and later checks of a cache entry."""
    command = [sys.executable, "-m", "themo", "--help"]
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        cache.entry("vectors", 0, _write_vectors)
        first = _seconds(lambda: cache.has("vectors", 0))
        later = [_seconds(lambda: cache.has("vectors", 0)) for _ in range(RUNS)]
    return [
        _row("python -m themo --help", _of_runs(command), Goal(GOAL_SECONDS, "<")),
        Row("first check of 1 GB in the cache", first, "s", detail="directly after writing"),
        _row("later check of 1 GB in the cache", later),
    ]


def _of_runs(command: list[str]) -> list[float]:
    run_it = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
    return [_seconds(run_it) for _ in range(RUNS + 1)][1:]  # the first one fills the disk's cache


def _write_vectors(folder: Path) -> None:
    np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float16, (ENTRY_BYTES // 2,))[:] = np.float16(
        0.5
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _row(name: str, seconds: list[float], goal: Goal | None = None) -> Row:
    spread = (min(seconds), max(seconds))
    return Row(name, statistics.median(seconds), "s", goal, spread, f"median of {len(seconds)} runs")
