"""Device memory: the peak memory of a trial, and its share of a GPU.

Training itself splits a batch that does not fit into microbatches (`themo.training.optimization`); this
module handles the rest: a single pair, the student or the held-out pairs do not fit.

If trials share GPUs by measured memory, the first trials have a GPU each. Their peaks determine the share of
later trials, and of trials resumed after a pause. Later trials may need more, as settings differ: then their
batches are split, or their share grows like that of any other.

Functions for a worker import torch, which the driver does without: half of a worker's memory.
"""

from __future__ import annotations

from tune.study.study import Study

MEASURED_FIRST = 3
"""Number of trials with a GPU each before others share GPUs: a single trial might be a small one."""

HEAD_ROOM = 1.25
"""Ratio of a trial's share to the largest peak: PyTorch cannot use all memory that it reserves."""

MOST_A_GPU = 8
"""Maximum number of trials on a GPU: each needs a few hundred megabytes for CUDA, and computing time."""


def larger_share(gpus: float) -> float | None:
    """Twice a share of a GPU, at most 1; None for a trial with a whole GPU or none."""
    return min(1.0, 2 * gpus) if 0 < gpus < 1 else None


def share_by_memory(study: Study) -> float:
    """The next trial's share of a GPU: 1/n, for the largest n that the peaks so far allow.

    A trial's peak is known at its first checkpoint or its end.
    """
    measured = [t for t in study if t.state != "RUNNING" or t.checkpoint]
    peaks = [t.gpu_memory for t in measured if t.gpu_memory is not None]
    if len(peaks) < MEASURED_FIRST:
        return 1.0
    most = int(1 / (HEAD_ROOM * max(peaks))) if max(peaks) > 0 else MOST_A_GPU
    return 1 / max(1, min(MOST_A_GPU, most))


def peak_memory() -> float | None:
    """Peak memory of this process on its device, as a share of all; None without a GPU.

    CUDA's own memory and that of other processes are included: valid only for a process alone on its GPU.
    """
    import torch

    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return None
    free, total = torch.cuda.mem_get_info()
    beside = total - free - torch.cuda.memory_reserved()
    return (torch.cuda.max_memory_allocated() + beside) / total


def keep_to_share(gpus: float) -> None:
    """Limit this process to its share of the device's memory, so that trials do not take each other's.

    CUDA's own memory, a few hundred megabytes a process, is not counted.
    """
    import torch

    if gpus and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(min(1.0, gpus))
