"""Device memory: what is a lack of it, and how much of a GPU a trial gets after one.

A batch that does not fit is cut by training itself, for the same result (`themo.optimization`). What comes
here is what does not fit even so: a single pair, the student, the held-out pairs.
"""

from __future__ import annotations

import torch

_WORDS = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device has no memory left; CUDA's libraries say so in words alone."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


def larger_share(gpus: float) -> float | None:
    """Twice a share of a GPU, all of it at most; None for a trial that has one already, or none at all."""
    return min(1.0, 2 * gpus) if 0 < gpus < 1 else None


def keep_to_share(gpus: float) -> None:
    """Let this process have its share of the device's memory, so that it is no trial's fault but its own.

    What CUDA itself takes, a few hundred megabytes a process, is not counted.
    """
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus if 0 < gpus < 1 else 1.0)
