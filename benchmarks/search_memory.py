"""Peak resident memory of a search's driver and of its trial's worker, until the end of one short trial.

Pages of shared libraries count in each process that maps them, as `top` shows them.
"""

from __future__ import annotations

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


def most_memory(command: Sequence[str], place: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Run a search; return the peak resident memory of driver and worker, in MiB.

    Raises:
        RuntimeError: The search fails, or no worker was seen.
    """
    process = psutil.Popen(
        command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    most = {DRIVER: 0.0, WORKER: 0.0}
    while process.poll() is None:
        for each in _family(process):
            with suppress(psutil.Error, IndexError):  # it has just ended
                is_worker = each.pid != process.pid and each.cmdline()[0].startswith(_TITLE)
                if is_worker or each.pid == process.pid:
                    role = WORKER if is_worker else DRIVER
                    most[role] = max(most[role], each.memory_info().rss / 2**20)
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    if process.returncode or not most[WORKER]:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}, memory {most}")
    return most


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
