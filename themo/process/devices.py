"""Where and in which arithmetic a student is trained, and what says that there is no room for it."""

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
    """``auto`` as a GPU where there is one.

    Raises:
        InputError: ``cuda`` without a GPU, or no device's name.
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
    """As `resolve_device`, without torch where the device needs no look at it."""
    if device == "cuda":
        resolve_device(device)


def resolve_precision(precision: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """``auto`` as bfloat16 where the device has units for its matrix products: most GPUs, CPUs with AMX.

    Raises:
        InputError: ``bfloat16`` on a GPU that has none.
    """
    import torch

    if device.type == "cpu":
        use = precision == "bfloat16" or (precision == "auto" and _has_amx())
        return torch.bfloat16 if use else torch.float32
    supported = torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bfloat16" and not supported:
        raise InputError("training.precision: must be float32 or auto on this GPU, got 'bfloat16'")
    return torch.bfloat16 if supported and precision != "float32" else torch.float32


def cores() -> int:
    """CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _compute_on_one_thread() -> None:
    if "torch" in sys.modules:  # what the child imports itself has no pool yet
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):
    # A forked child has the parent's pool of threads without its threads: what asks them for help never
    # returns (torch 2.15: servers that load a model before they fork, multiprocessing.Pool, DataLoader).
    os.register_at_fork(after_in_child=_compute_on_one_thread)


def _has_amx() -> bool:
    import torch

    # torch tells only since 2.10 or so; without its word float32 is safe
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16", False))


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Matrix products in `dtype`, and what an activation makes of them; all else in float32.

    On a CPU torch leaves more in `dtype`; `themo.models.backbones.build_model` builds encoders whose states
    are float32 there too.
    """
    import torch

    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device has no memory left; CUDA's libraries say so in words alone."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _LACK_OF_MEMORY)


def is_device_fault(error: BaseException) -> bool:
    """Whether an error says that a device or its driver is at fault; a lack of memory is none.

    Such as memory that lost its bits, or a device that is gone. After most of these the process can use no
    device any more.
    """
    if is_out_of_memory(error):
        return False
    import torch

    is_cudas = isinstance(error, RuntimeError) and str(error).startswith("CUDA error")  # libraries' own too
    return is_cudas or isinstance(error, torch.AcceleratorError)
