"""Device and arithmetic of training, and errors of devices."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, get_args

from themo.errors import InputError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]

_LACK_OF_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def resolve_device(device: Device) -> torch.device:
    """Resolve a device; ``auto`` is a GPU if there is one.

    Raises:
        InputError: The device is ``cuda`` without a GPU, or unknown.
    """
    if device not in get_args(Device):
        raise InputError(f"device: must be one of {', '.join(get_args(Device))}, got {device!r}")
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("training.device: must be auto or cpu where torch sees no CUDA device, got 'cuda'")
    return torch.device(
        "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
    )


def refuse_missing_device(device: Device) -> None:
    """Refuse a device that is missing; imports torch only for a GPU."""
    if device == "cuda":
        resolve_device(device)


def resolve_precision(precision: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """Resolve a precision; ``auto`` is bfloat16 if the device has units for it: most GPUs, CPUs with AMX.

    Raises:
        InputError: The precision is ``bfloat16`` on a GPU without such units.
    """
    import torch

    if device.type == "cpu":
        use = precision == "bfloat16" or (precision == "auto" and _capabilities().get("amx_bf16", False))
        return torch.bfloat16 if use else torch.float32
    supported = torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bfloat16" and not supported:
        raise InputError("training.precision: must be float32 or auto on this GPU, got 'bfloat16'")
    return torch.bfloat16 if supported and precision != "float32" else torch.float32


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # only on Linux
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep while they wait, unless ``OMP_WAIT_POLICY`` says otherwise.

    Call it before torch is imported. Else torch's threads spin between the short operations of a small
    student, which encodes a tenth as many texts a second on busy cores (measured).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _compute_on_one_thread() -> None:
    if "torch" in sys.modules:  # what the child imports itself has no pool yet
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):
    # a forked child inherits the parent's thread pool without threads: parallel operations never return
    # (torch 2.15: servers that load a model before they fork, multiprocessing.Pool, DataLoader).
    os.register_at_fork(after_in_child=_compute_on_one_thread)


def multiplies_bfloat16() -> bool:
    """Whether the CPU has units for products in bfloat16: AMX or AVX512-BF16."""
    capabilities = _capabilities()
    return bool(capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False))


def _capabilities() -> dict[str, object]:
    import torch

    # available since about torch 2.10; without it float32 is safe
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return known


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Return a context that computes matrix products and their activations in `dtype`, all else in float32.

    On a CPU torch keeps more in `dtype`; `themo.models.backbones.build_model` builds encoders with float32
    states also there.
    """
    import torch

    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device is out of memory, by type or by message."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _LACK_OF_MEMORY)


def is_device_fault(error: BaseException) -> bool:
    """Whether an error means a fault of a device or its driver, not a lack of memory.

    Examples are memory errors and a lost device. After most faults the process cannot use any device.
    """
    if is_out_of_memory(error):
        return False
    import torch

    is_cudas = isinstance(error, RuntimeError) and str(error).startswith("CUDA error")  # libraries' too
    return is_cudas or isinstance(error, torch.AcceleratorError)
