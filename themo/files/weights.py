"""Weights of a model's folder, written, and read without running what may be in them."""

from __future__ import annotations

import pickle  # for the name of its error alone; tests/test_imports.py sees to that
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

from themo.errors import InputError, reason_of

if TYPE_CHECKING:
    from torch import Tensor

SAFE_WEIGHTS, PICKLED_WEIGHTS = "model.safetensors", "pytorch_model.bin"


def read_weights(folder: Path, what: str) -> dict[str, Tensor]:
    """Tensors of a model by name, on the CPU; no code that a file may hold is run.

    Raises:
        InputError: No weights there, damaged ones, or anything in them but tensors.
    """
    import torch  # what only asks where weights lie need not wait for it
    from safetensors.torch import load_file

    path = folder / SAFE_WEIGHTS
    try:
        if path.is_file():
            return load_file(path)
        path = folder / PICKLED_WEIGHTS
        # the format before torch 1.6 is no zip archive and cannot be mapped
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except FileNotFoundError:
        raise InputError(f"{what}: must have {SAFE_WEIGHTS} or {PICKLED_WEIGHTS}, has neither") from None
    except Exception as error:  # safetensors, pickle, zip files and torch each have their own
        refuse_code(error, what)
        raise InputError(f"{what}: {path.name} cannot be read: {reason_of(error)}") from error
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()
    ):
        raise InputError(f"{what}: {_refusal_of_code()}")
    return loaded


def write_weights(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors by name as safetensors, with the rights of any new file.

    safetensors (0.8) lets the owner alone read what it writes, whatever the umask.
    """
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode
    save_file(dict(tensors), path, metadata)
    path.chmod(mode)


def refuse_code(error: Exception, what: str, file: str = PICKLED_WEIGHTS) -> None:
    """Say of an error in reading weights that there is more in them than tensors, if that is what it is.

    Args:
        error: What was raised.
        what: The setting and the model that a refusal names.
        file: Where the weights are.

    Raises:
        InputError: It is; torch's own message advises to load it all the same.
    """
    if isinstance(error, pickle.UnpicklingError):
        raise InputError(f"{what}: {_refusal_of_code(file)}") from error


def _refusal_of_code(file: str = PICKLED_WEIGHTS) -> str:
    return f"{file} must hold tensors by name and nothing else; code there is never run"
