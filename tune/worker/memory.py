"""Device memory: how much of it a trial takes, and what share of a GPU it gets for that.

A batch that does not fit is cut by training itself, for the same update (`themo.training.optimization`). What
comes here is what does not fit even so: a single pair, the student, the held-out pairs.

Where trials share GPUs by measure, the first ones have one each, and what they took at their peaks decides
for those that come later, and for those that go on after a pause. They may take more, for settings differ:
then their batches are cut, or their share grows as that of any other.
"""

from __future__ import annotations

import torch

from tune.study.study import Study

MEASURED_FIRST = 3
"""Trials that have a GPU each before the others share them: one alone may be a small one."""

HEAD_ROOM = 1.25
"""What a trial gets for each byte that the largest one took: PyTorch cannot use all that it holds."""

MOST_A_GPU = 8
"""Trials on a GPU: each takes a few hundred megabytes for CUDA itself, and its turn."""


def larger_share(gpus: float) -> float | None:
    """Twice a share of a GPU, all of it at most; None for a trial that has one already, or none at all."""
    return min(1.0, 2 * gpus) if 0 < gpus < 1 else None


def share_by_memory(study: Study) -> float:
    """The next trial's share of a GPU: 1/n, for the largest n that the trials so far allow.

    A trial's peak is known when its first checkpoint stands, or it has ended.
    """
    measured = [t for t in study if t.state != "RUNNING" or t.checkpoint]
    peaks = [t.gpu_memory for t in measured if t.gpu_memory is not None]
    if len(peaks) < MEASURED_FIRST:
        return 1.0
    most = int(1 / (HEAD_ROOM * max(peaks))) if max(peaks) > 0 else MOST_A_GPU
    return 1 / max(1, min(MOST_A_GPU, most))


def peak_memory() -> float | None:
    """What this process took of its device's memory at its peak, as a share of all; None without a GPU.

    CUDA's own is in it, and so is all that other processes have there: to be asked by one that is alone.
    """
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return None
    free, total = torch.cuda.mem_get_info()
    beside = total - free - torch.cuda.memory_reserved()
    return (torch.cuda.max_memory_allocated() + beside) / total


def keep_to_share(gpus: float) -> None:
    """Let a trial have its share of the device's memory, so that a lack of it is no other one's fault.

    What CUDA itself takes, a few hundred megabytes a process, is not counted.
    """
    if gpus and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpus))
