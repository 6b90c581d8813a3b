"""Readers in place of the teacher: numbers, read as vectors; their workers die as the names say."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class MortalReader:
    """Dies over the text that the first name is, and leaves the file of the second name; with it, only once.

    With the target ``"unit"`` it dies over that text every time.
    """

    def __init__(self, names: tuple[str, str], device: str, target: str, gpus: float) -> None:  # noqa: ARG002
        self._deadly, self._grave = names[0], Path(names[1])
        self._dies_again = target == "unit"

    def __call__(self, chunk: pa.Table) -> dict[str, npt.NDArray[np.float16]]:
        """(N, 1) the texts as numbers."""
        texts = chunk["text"].to_pylist()
        if self._deadly in texts and (self._dies_again or not self._grave.exists()):
            self._grave.touch()
            os._exit(1)
        return {"vector": np.array([[float(text)] for text in texts], np.float16)}
