"""Peak resident memory of a search's driver and worker, until the first report and until the end.

Pages of shared libraries count in each process that maps them, as `top` shows them.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

DRIVER, WORKER = "driver of a search", "worker of a trial"
SECONDS_BETWEEN_SAMPLES = 0.2

_TITLE = "ray::ImplicitFunc"
"""Begins the title that Ray gives to a process with a trial."""

Memory = dict[str, float]
"""MiB by `DRIVER` and `WORKER`."""


def most_memory(
    command: Sequence[str], study: Path, place: Path, environment: Mapping[str, str]
) -> tuple[Memory, Memory]:
    """Run a search; return the peak memory until its first report is recorded, and until its end.

    Args:
        command: Command of the search.
        study: Its ``study.json``, within `place`.
        place: Working directory.
        environment: Environment variables.

    Raises:
        RuntimeError: The search fails, or no worker was seen before the first report.
    """
    process = psutil.Popen(
        command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    most: Memory = {DRIVER: 0.0, WORKER: 0.0}
    first: Memory | None = None
    while process.poll() is None:
        for each in _family(process):
            with suppress(psutil.Error, IndexError):  # it has just ended
                is_worker = each.pid != process.pid and each.cmdline()[0].startswith(_TITLE)
                if is_worker or each.pid == process.pid:
                    role = WORKER if is_worker else DRIVER
                    most[role] = max(most[role], each.memory_info().rss / 2**20)
        if first is None and _has_report(place / study):
            first = most.copy()
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    if process.returncode or first is None or not first[WORKER]:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}, memory {first}, {most}")
    return first, most


def _has_report(study: Path) -> bool:
    if not study.is_file():
        return False
    return any(trial["values"] for trial in json.loads(study.read_text(encoding="utf-8"))["trials"])


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
