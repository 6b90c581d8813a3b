"""Weights of a model's folder: writing them, and reading them without running code."""

from __future__ import annotations

import pickle  # only for its error class; tests/test_imports.py checks this
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from themo.errors import InputError, reason_of

if TYPE_CHECKING:
    from torch import Tensor

SAFE_WEIGHTS, PICKLED_WEIGHTS = "model.safetensors", "pytorch_model.bin"


def read_weights(folder: Path, what: str) -> dict[str, Tensor]:
    """Read the tensors of a model by name, on the CPU, without running code of the file.

    Raises:
        InputError: The weights are missing, damaged, or hold anything but tensors.
    """
    import torch  # slow to import; not needed to locate weights
    from safetensors.torch import load_file

    path = folder / SAFE_WEIGHTS
    try:
        if path.is_file():
            return load_file(path)
        path = folder / PICKLED_WEIGHTS
        # files of torch before 1.6 are no zip archives and cannot be mapped
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except FileNotFoundError:
        raise InputError(f"{what}: must have {SAFE_WEIGHTS} or {PICKLED_WEIGHTS}, has neither") from None
    except Exception as error:  # safetensors, pickle, zipfile and torch raise different errors
        refuse_code(error, what)
        raise InputError(f"{what}: {path.name} cannot be read: {reason_of(error)}") from error
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()
    ):
        raise InputError(f"{what}: {_refusal_of_code()}")
    return loaded


def write_weights(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors by name as safetensors, with the usual mode of a new file.

    safetensors (0.8) makes its files readable only for the owner, whatever the umask.
    """
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, metadata)
    path.chmod(mode)


def refuse_code(error: Exception, what: str, file: str = PICKLED_WEIGHTS) -> None:
    """Raise a refusal if an error in reading weights means that they hold more than tensors.

    Args:
        error: The error in reading weights.
        what: Setting and model for the message.
        file: File of the weights.

    Raises:
        InputError: The weights hold more than tensors. (torch's own message advises to load them all the
            same.)
    """
    if isinstance(error, pickle.UnpicklingError):
        raise InputError(f"{what}: {_refusal_of_code(file)}") from error


def _refusal_of_code(file: str = PICKLED_WEIGHTS) -> str:
    return f"{file} must contain only named tensors; code in it is never run"
