"""The index of a folder's pictures: updating their vectors and finding the best matches.

    cache_dir/pictures-<digest of folder and teacher>/
        000007.npy   vectors of some pictures, (n, E) float32 of length 1
        000007.json  their names, sizes, times and digests, the broken ones, and the digest of the vectors

The JSON of a piece is written last and makes it valid. A new piece is written at a fixed interval, so that a
killed run loses little. Small pieces are merged. Pieces with changed or deleted pictures are rewritten.

All float32 vectors are compared: the ranking is exact. Vectors are memory-mapped and released piece by piece,
so memory does not depend on their number.

Shape suffixes: Q queries, n pictures of a piece, N pictures in all, E dimensions.
"""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from themo.errors import InputError
from themo.files.atomic import write_text
from themo.files.cache import digest, digest_file
from themo.files.locks import alone
from themo.files.npy import NpyWriter
from themo.image_search.pictures import Stamp
from themo.models.image_files import UnreadableError
from themo.models.images import Identified, Upright, load_identified
from themo.process.progress import console, track, waiting

if TYPE_CHECKING:
    from themo.models.teacher import Teacher

Vectors = npt.NDArray[np.float32]
Digests = npt.NDArray[np.uint64]

_FORM = 3
"""Version of the index's format and of the decoding; a new number makes a new index."""
SECONDS_BETWEEN_PIECES = 20.0
"""Seconds between pieces: the loss of a killed run, beside its current batch."""
PIECE_ROWS = 16_384
"""Greatest number of pictures of a piece; 48 MiB at 768 dimensions, the memory that a search maps."""
MOST_SMALL = 16
"""Number of pieces of less than half that size before they are merged."""
BATCH = {"cpu": 32, "cuda": 128}
"""Pictures per batch of the teacher; few on a slow device, since an interruption loses them."""


@dataclass(frozen=True)
class Match:
    """A picture found by a query.

    Attributes:
        name: Path below the folder.
        score: Cosine of its vector and the query's.
        copies: Other files with the same bytes, by name.
    """

    name: str
    score: float
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """The vectors of some pictures on disk.

    Attributes:
        path: The JSON file, beside the vectors.
        stamps: The n pictures, in the order of the rows.
        broken: Reasons of unreadable pictures of the same batches.
        digests: (n, 4) uint64 digests of `Identified`.
    """

    path: Path
    stamps: tuple[Stamp, ...]
    broken: Mapping[Stamp, str]
    digests: Digests

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
        return cls(path, stamps, broken, digests)

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
        piece = cls(path, tuple(stamps), broken, np.concatenate(digests))
        tree = {
            "pictures": [_row(stamp) for stamp in piece.stamps],
            "broken": [[_row(stamp), reason] for stamp, reason in broken.items()],
            "digests": piece.digests.tobytes().hex(),
            "sha256": digest_file(path.with_suffix(".npy")),
        }
        write_text(path, json.dumps(tree))
        return piece

    def remove(self) -> None:
        """Remove the piece from disk; open vectors stay readable."""
        self.path.unlink()
        self.path.with_suffix(".npy").unlink()


class MappedVectors:
    """A ``.npy`` of (n, E) float32, memory-mapped; it stays readable after the file is unlinked."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            offset = file.tell()
            # a private, never written map: torch warns of read-only arrays
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        flat = np.frombuffer(self._map, dtype, int(np.prod(shape)), offset)
        self.rows: Vectors = flat.reshape(shape)

    def release(self) -> None:
        """Release the resident pages; they stay in the system's page cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class ImageIndex:
    """The pictures of a folder, ready to be searched.

    Attributes:
        names: N paths below the folder, in the order of the rows.
        pieces: Pieces of their vectors.
        broken: Reasons of unreadable pictures, by name.
        n_new: Number of pictures that were new or changed since the last update.
        file_of: (N,) numbers, equal for files with the same bytes.
        twin_of: (N,) row of the first picture with the same pixels. Vectors of the same pixels differ by some
            3e-8 between batches, which must not decide their order.
    """

    names: tuple[str, ...]
    pieces: tuple[MappedVectors, ...]
    broken: Mapping[str, str]
    n_new: int
    file_of: npt.NDArray[np.intp]
    twin_of: npt.NDArray[np.intp]

    @classmethod
    def update(
        cls,
        cache_dir: Path,
        folder: Path,
        found: Iterable[Stamp],
        teacher_key: str,
        load: Callable[[], Teacher],
    ) -> ImageIndex:
        """Update the index of a folder and open it.

        An interruption keeps the computed vectors.

        Args:
            cache_dir: Folder of the cache.
            folder: The folder of pictures.
            found: Pictures now in the folder.
            teacher_key: Fingerprint of the teacher.
            load: Loads the `Teacher`; called only for new pictures.

        Raises:
            InputError: The cache cannot be written.
        """
        place = os.fsencode(folder.resolve()).decode("utf-8", "backslashreplace")
        home = (
            cache_dir.absolute()
            / f"pictures-{digest({'form': _FORM, 'teacher': teacher_key, 'folder': place})}"
        )
        try:
            home.mkdir(parents=True, exist_ok=True)
            lock = cache_dir.absolute() / f".{home.name}.lock"
            with alone(lock, f"--images {folder}: another process is indexing it; waiting"):
                with waiting("Opening the index"):
                    builder = _Builder(home, folder, frozenset(found))
                n_new = builder.add_new(load)
                builder.tidy()
                pieces = tuple(MappedVectors(piece.path.with_suffix(".npy")) for piece in builder.pieces)
        except OSError as error:
            raise InputError(
                f"cache_dir {cache_dir}: cannot write the index: {error.strerror or error}"
            ) from error
        names = tuple(stamp.name for piece in builder.pieces for stamp in piece.stamps)
        broken = {stamp.name: reason for piece in builder.pieces for stamp, reason in piece.broken.items()}
        digests_N4 = np.concatenate(
            [np.empty((0, 4), np.uint64), *(piece.digests for piece in builder.pieces)]
        )
        _, file_of = _first_equals(digests_N4[:, :2])
        firsts, pixels_of = _first_equals(digests_N4[:, 2:])
        every_broken = dict(sorted((broken | builder.unreadable).items()))
        return cls(names, pieces, every_broken, n_new, file_of, firsts[pixels_of])

    def search(self, queries_QE: Vectors, n_best: int) -> list[list[Match]]:
        """Return the best matches of each query, the best first; equal pictures are ordered by name.

        Files with the same bytes are one match, under the first name.

        Args:
            queries_QE: float32 vectors of length 1.
            n_best: Greatest number of matches per query.
        """
        scores_NQ = np.empty((len(self.names), len(queries_QE)), np.float32)
        queries_EQ, start = torch.from_numpy(queries_QE).T, 0
        for piece in self.pieces:
            end = start + len(piece.rows)
            # by torch, which the student uses: NumPy's threads would keep spinning beside torch's
            torch.matmul(torch.from_numpy(piece.rows), queries_EQ, out=torch.from_numpy(scores_NQ[start:end]))
            piece.release()
            start = end
        return [self._best(scores_N, n_best) for scores_N in scores_NQ.T]

    def _best(self, scores_N: Vectors, n_best: int) -> list[Match]:
        scores_N = scores_N[self.twin_of]
        for n in _growing(n_best, len(scores_N)):
            worst = np.partition(scores_N, -n)[-n]
            # with all pictures equal to the last one, so with all its copies
            rows = np.flatnonzero(scores_N >= worst)
            found: dict[int, list[int]] = {}
            for row in sorted(rows, key=lambda row: (-scores_N[row], self.names[row])):
                found.setdefault(int(self.file_of[row]), []).append(int(row))
            if len(found) >= n_best or n == len(scores_N):
                best = list(found.values())[:n_best]
                return [self._match(rows, float(scores_N[rows[0]])) for rows in best]
        return []

    def _match(self, rows: Sequence[int], score: float) -> Match:
        first, *others = (self.names[row] for row in rows)
        return Match(first, score, tuple(others))


def _growing(n_best: int, n: int) -> Iterator[int]:
    """Yield growing numbers of rows to inspect, up to all, until enough files differ."""
    while 0 < n_best < n:
        yield n_best
        n_best *= 4
    if n:
        yield n


def _first_equals(keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the first index of each distinct row of (N, 2), and each row's number among these."""
    _, firsts, numbers = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return firsts, numbers.reshape(-1)


class _Builder:
    """The pieces of an index under its lock.

    Args:
        home: Folder of the pieces.
        folder: The folder of pictures.
        found: Pictures now in the folder.
    """

    def __init__(self, home: Path, folder: Path, found: frozenset[Stamp]) -> None:
        self.found = found
        self.pieces: list[Piece] = []
        """Pieces in the order of their names and creation."""
        self._home = home
        self._folder = folder
        self._known: set[Stamp] = set()
        self.unreadable: dict[str, str] = {}
        """Reasons by name; not stored, since the files may become readable."""
        for path in sorted(home.glob("*.json")):
            try:
                piece = Piece.read(path)
            except (OSError, ValueError):
                console.print(f"{path} is damaged or of an older version; encoding its pictures again")
                path.unlink()
                continue
            self.pieces.append(piece)
            self._known.update(piece.stamps, piece.broken)
        whole = {piece.path.stem for piece in self.pieces}
        for path in home.iterdir():  # leftovers of a killed run
            if path.name.partition(".")[0] not in whole:
                path.unlink()

    def add_new(self, load: Callable[[], Teacher]) -> int:
        """Encode the pictures that no piece holds; return their number."""
        new = sorted(self.found - self._known)
        if not new:
            return 0
        teacher = load()
        part = _Part()
        paths = [self._folder / stamp.name for stamp in new]
        with (
            track("Encoding pictures", len(new), "pictures") as advance,
            closing(load_identified(paths, Upright(teacher.transform))) as images,
        ):
            seen = zip(new, images, strict=True)
            try:
                while batch := list(islice(seen, BATCH[teacher.device.type])):
                    self.unreadable |= {
                        stamp.name: str(image) for stamp, image in batch if isinstance(image, UnreadableError)
                    }
                    part.look(teacher, [each for each in batch if each[0].name not in self.unreadable])
                    advance(len(batch))
                    if part.age >= SECONDS_BETWEEN_PIECES or len(part.stamps) >= PIECE_ROWS:
                        self._write(part)
                        part = _Part()
                        if self._has_many_small:
                            self.tidy()
            finally:  # keep the vectors also after an interruption
                self._write(part)
        return len(new)

    def tidy(self) -> None:
        """Rewrite pieces with deleted or changed pictures, and merge many small ones."""
        merge = self._has_many_small
        worn: list[tuple[Piece, npt.NDArray[np.bool_]]] = []
        kept: list[Piece] = []
        taken: set[Stamp] = set()
        for piece in reversed(self.pieces):  # an interrupted rewrite leaves duplicates: the newer one counts
            alive = [stamp in self.found and stamp not in taken for stamp in piece.stamps]
            taken.update(piece.stamps)
            if all(alive) and self.found.issuperset(piece.broken) and not (merge and _is_small(piece)):
                kept.append(piece)
            else:
                worn.append((piece, np.array(alive, dtype=bool)))
        self.pieces = kept[::-1]
        part = _Part()
        for piece, alive_n in reversed(worn):
            part.take(piece, alive_n, self.found)
            if len(part.stamps) >= PIECE_ROWS:
                self._write(part)
                part = _Part()
        self._write(part)
        for piece, _ in worn:
            piece.remove()

    @property
    def _has_many_small(self) -> bool:
        return sum(map(_is_small, self.pieces)) > MOST_SMALL

    def _write(self, part: _Part) -> None:
        if part.stamps or part.broken:
            numbers = [int(path.stem) for path in self._home.glob("*.npy") if path.stem.isdigit()]
            path = self._home / f"{max(numbers, default=-1) + 1:06d}.json"
            self.pieces.append(Piece.write(path, part.vectors, part.stamps, part.broken, part.digests))


class _Part:
    """A piece under construction."""

    def __init__(self) -> None:
        self.vectors: list[Vectors] = []
        self.stamps: list[Stamp] = []
        self.broken: dict[Stamp, str] = {}
        self.digests: list[Digests] = []
        self._start = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._start

    def look(self, teacher: Teacher, batch: Sequence[tuple[Stamp, Identified | InputError]]) -> None:
        """Encode a batch and add its pictures, with the broken ones."""
        whole = {stamp: image for stamp, image in batch if isinstance(image, Identified)}
        broken = {stamp: str(image) for stamp, image in batch if isinstance(image, InputError)}
        vectors = np.empty((0, teacher.dimension("embedding")), np.float32)
        if whole:
            pixels = np.stack([image.pixels for image in whole.values()])
            vectors = teacher.encode_pixels(torch.from_numpy(pixels)).numpy()
        self.vectors.append(vectors)
        self.digests.append(np.array([image.digests for image in whole.values()], np.uint64).reshape(-1, 4))
        self.stamps.extend(whole)
        self.broken |= broken

    def take(self, piece: Piece, alive_n: npt.NDArray[np.bool_], found: frozenset[Stamp]) -> None:
        """Add the pictures of a piece that still exist."""
        self.vectors.append(MappedVectors(piece.path.with_suffix(".npy")).rows[alive_n])
        self.digests.append(piece.digests[alive_n])
        self.stamps.extend(stamp for stamp, lives in zip(piece.stamps, alive_n, strict=True) if lives)
        self.broken |= {stamp: reason for stamp, reason in piece.broken.items() if stamp in found}


def _is_small(piece: Piece) -> bool:
    return len(piece.stamps) < PIECE_ROWS // 2


def _row(stamp: Stamp) -> list[Any]:
    return [stamp.name, stamp.size, stamp.changed, stamp.touched]
