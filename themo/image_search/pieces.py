"""Pieces of an index on disk: vectors of some pictures, and a JSON file that describes and validates them.

    000007.npy   vectors of some pictures, (n, E) float32 of length 1
    000007.json  their names, sizes, times and digests, the broken ones, and the digest of the vectors

The JSON of a piece is written last and makes it valid.

Shape suffixes: n pictures of a piece, E dimensions.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from themo.files.atomic import write_text
from themo.files.cache import digest_file
from themo.files.npy import NpyWriter
from themo.image_search.pictures import Stamp

Vectors = npt.NDArray[np.float32]
Digests = npt.NDArray[np.uint64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Piece:
    """The vectors of some pictures on disk.

    Attributes:
        path: The JSON file, beside the vectors.
        stamps: The n pictures, in the order of the rows.
        broken: Reasons of unreadable pictures of the same batches.
        digests: (n, 4) uint64 digests of `Identified`.
        sha256: SHA-256 of the file of vectors, in hexadecimal.
    """

    path: Path
    stamps: tuple[Stamp, ...]
    broken: Mapping[Stamp, str]
    digests: Digests
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Piece:
        """Read a complete piece.

        Raises:
            ValueError: The piece is damaged or has another format.
            OSError: The piece cannot be read.
        """
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            stamps = tuple(Stamp(*item) for item in tree["pictures"])
            broken = {Stamp(*item): str(reason) for item, reason in tree["broken"]}
            digests = np.frombuffer(bytes.fromhex(tree["digests"]), np.uint64).reshape(len(stamps), 4)
            expected = tree["sha256"]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: must describe a piece") from error
        if digest_file(path.with_suffix(".npy")) != expected:
            raise ValueError(f"{path}: the vectors do not match their digest")
        return cls(path, stamps, broken, digests, expected)

    @classmethod
    def write(
        cls,
        path: Path,
        vectors: Sequence[Vectors],
        stamps: Iterable[Stamp],
        broken: Mapping[Stamp, str],
        digests: Sequence[Digests],
    ) -> Piece:
        """Write a new piece from consecutive arrays of `vectors` and `digests`."""
        with NpyWriter(path.with_suffix(".npy"), np.float32, vectors[0].shape[1:]) as out:
            for rows in vectors:
                out.append(rows)
        sha256 = digest_file(path.with_suffix(".npy"))
        piece = cls(path, tuple(stamps), broken, np.concatenate(digests), sha256)
        tree = {
            "pictures": [_row(stamp) for stamp in piece.stamps],
            "broken": [[_row(stamp), reason] for stamp, reason in broken.items()],
            "digests": piece.digests.tobytes().hex(),
            "sha256": piece.sha256,
        }
        write_text(path, json.dumps(tree))
        return piece

    def remove(self) -> None:
        """Remove the piece from disk; open vectors stay readable."""
        self.path.unlink()
        self.path.with_suffix(".npy").unlink()


class Mapped(Generic[Number]):
    """A ``.npy`` of two dimensions, memory-mapped; it stays readable after the file is unlinked."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            offset = file.tell()
            # a private, never written map: torch warns of read-only arrays
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        flat = np.frombuffer(self._map, dtype, int(np.prod(shape)), offset)
        self.rows: npt.NDArray[Number] = flat.reshape(shape)

    def release(self) -> None:
        """Release the resident pages; they stay in the system's page cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


MappedVectors = Mapped[np.float32]
"""A memory-mapped ``.npy`` of (n, E) float32."""


@dataclass(frozen=True)
class HeldVectors:
    """Vectors of (n, E) float32 in memory."""

    rows: Vectors

    def release(self) -> None:
        """Do nothing: no pages are mapped."""


def _row(stamp: Stamp) -> list[Any]:
    return [stamp.name, stamp.size, stamp.changed, stamp.touched]
