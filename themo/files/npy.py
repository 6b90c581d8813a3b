"""NumPy files written in pieces, with a length known only at the end."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

_HEADER_BYTES = 128
"""Bytes of NumPy's header for few dimensions and a plain type: padded to a multiple of 64."""


class NpyWriter:
    """Writer of a ``.npy`` file of version 1.0, row by row; a context manager that completes the file.

    The file is not memory-mapped: a full disk kills a process that writes through a map.

    Args:
        path: The file; an existing one is replaced.
        dtype: Type of the values; rows are converted.
        row: Shape of a row; empty for a flat array.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, row: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._row = row
        self._length = 0
        self._file = path.open("wb")
        self._file.write(bytes(_HEADER_BYTES))

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Append rows, (n, *row)."""
        if rows.shape[1:] != self._row:
            raise ValueError(f"rows must have the shape {self._row}, got {rows.shape[1:]}")
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        self._length += len(rows)

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                header = BytesIO()
                descr = np.lib.format.dtype_to_descr(self._dtype)
                shape = (self._length, *self._row)
                np.lib.format.write_array_header_1_0(
                    header, {"descr": descr, "fortran_order": False, "shape": shape}
                )
                if header.tell() != _HEADER_BYTES:
                    raise ValueError(f"a header of {header.tell()} bytes does not fit {_HEADER_BYTES}")
                self._file.seek(0)
                self._file.write(header.getvalue())
