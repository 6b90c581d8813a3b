"""Cost of a text encoder: the size of its files, and the time of one text."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from themo.models.axes import AXES_FILE

Encode = Callable[[Sequence[str]], Tensor]

N_ALONE = 30
"""Texts that are encoded alone, to measure the time of one."""


def megabytes(*files: Path) -> float:
    """Return the size of an encoder's files in MB; axes of nested widths do not count."""
    return sum(file.stat().st_size for file in files if file.name != AXES_FILE) / 1e6


def milliseconds_alone(encode: Encode, texts: Sequence[str]) -> float:
    """Return the median time of one text alone, in milliseconds, of the first `N_ALONE` texts."""
    alone = []
    for text in texts[:N_ALONE]:
        start = time.perf_counter()
        encode([text])
        alone.append(time.perf_counter() - start)
    return 1000 * statistics.median(alone)
