"""A file of vectors, read row by row.

The file is not memory-mapped: the kernel maps many pages around each row, so a few hundred random batches
would make the whole file resident, gigabytes for a million pairs. Reads use the page cache, which all
processes share and which counts to none.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from themo.errors import reason_of


class VectorFile:
    """A ``.npy`` of shape (N, D), float16 or float32, in C order.

    Args:
        path: The ``.npy`` file.

    Raises:
        ValueError: The file holds no such array.
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            mapped = np.lib.format.open_memmap(path, mode="r")  # np.load would also open archives
        except ValueError as error:
            raise ValueError(f"must be a .npy array: {reason_of(error)}") from None
        except (ArithmeticError, MemoryError, RecursionError, SyntaxError, TokenError, TypeError) as error:
            # NumPy reads the header as Python text
            reason = f"its header is damaged ({type(error).__name__})"
            raise ValueError(f"must be a .npy array: {reason}") from None
        if mapped.ndim != 2 or mapped.dtype not in (np.float16, np.float32) or not mapped.flags.c_contiguous:
            raise ValueError(f"must be (N, D) of float16 or float32, got {mapped.shape} of {mapped.dtype}")
        if not mapped.shape[1]:
            raise ValueError(f"must be (N, D) with D of at least 1, got {mapped.shape}")
        self.shape: tuple[int, int] = mapped.shape
        self.dtype = mapped.dtype
        self._start: int = mapped.offset
        self._row_bytes = self.shape[1] * self.dtype.itemsize
        self._descriptor = os.open(path, os.O_RDONLY)
        # not __del__: at the end of the interpreter the module `os` may be gone
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Read the rows at B indices, (B, D) float32."""
        values = np.empty((len(indices), self.shape[1]), self.dtype)
        for row, place in zip(indices.tolist(), values, strict=True):
            self._read(place, row)
        return values.astype(np.float32)

    def chunks(self, n_rows: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the rows in order, `n_rows` at a time."""
        for start in range(0, len(self), n_rows):
            values = np.empty((min(n_rows, len(self) - start), self.shape[1]), self.dtype)
            self._read(values, start)
            yield values

    def _read(self, place: npt.NDArray[Any], row: int) -> None:
        view = place.data.cast("B")
        offset = self._start + row * self._row_bytes
        while len(view):  # a read may be short, for example above 2 GiB
            n = os.preadv(self._descriptor, [view], offset)
            if n == 0:
                raise OSError("the file of vectors ends before its last row")
            view, offset = view[n:], offset + n
