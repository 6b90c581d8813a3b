"""The index of a folder's pictures: updating their vectors and finding the best matches.

An index is the folder ``cache_dir/pictures-<digest of folder and teacher>`` of pieces
(`themo.image_search.pieces`), which `themo.image_search.building` writes.

The ranking is exact, from all float32 vectors. Vectors are memory-mapped and released piece by piece, so
memory does not depend on their number.

Shape suffixes: Q queries, n pictures of a piece, N pictures in all, E dimensions.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from themo.errors import InputError
from themo.files.cache import digest
from themo.files.locks import alone
from themo.image_search.building import Builder, read_whole
from themo.image_search.codes import multiplies_bytes
from themo.image_search.codes_folder import CodedPiece, read_codes, update_codes
from themo.image_search.matches import Match
from themo.image_search.pictures import Stamp
from themo.image_search.pieces import HeldVectors, MappedVectors, Piece, Vectors
from themo.image_search.ranking import AllScores, BoundedScores, Ranking
from themo.process.progress import waiting

if TYPE_CHECKING:
    from themo.models.teacher import Teacher

_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
_FORM = 5
"""Version of the index's format and of the decoding; a new number makes a new index."""


@dataclass(frozen=True)
class ImageIndex:
    """The pictures of a folder, ready to be searched.

    Attributes:
        names: N paths below the folder, in the order of the rows.
        pieces: Pieces of their vectors.
        broken: Reasons of unreadable pictures, by name.
        n_new: Number of pictures that were new or changed since the last update.
        file_of: (N,) numbers, equal for files with the same bytes.
        twin_of: (N,) row of the first picture with the same pixels. Vectors of equal pixels differ by about
            3e-8 between batches, which must not affect the order.
        pixels: (N,) uint64 of the digest of each picture's pixels, which identify its vector.
        codes: int8 codes of each piece; empty: all vectors are compared.
        home: Folder of the pieces; None: they are not on disk.
    """

    names: tuple[str, ...]
    pieces: tuple[MappedVectors | HeldVectors, ...]
    broken: Mapping[str, str]
    n_new: int
    file_of: npt.NDArray[np.intp]
    twin_of: npt.NDArray[np.intp]
    pixels: npt.NDArray[np.uint64]
    codes: tuple[CodedPiece, ...] = ()
    home: Path | None = None

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

        An interruption keeps the computed vectors. Where the cache cannot be written, an index that holds
        exactly these pictures is opened as it is.

        Args:
            cache_dir: Folder of the cache.
            folder: The folder of pictures.
            found: Pictures now in the folder.
            teacher_key: Fingerprint of the teacher.
            load: Loads the `Teacher`; called only for new pictures.

        Raises:
            InputError: The cache cannot be written, and the index needs an update.
        """
        place = os.fsencode(folder.resolve()).decode("utf-8", "backslashreplace")
        home = (
            cache_dir.absolute()
            / f"pictures-{digest({'form': _FORM, 'teacher': teacher_key, 'folder': place})}"
        )
        pictures = frozenset(found)
        try:
            home.mkdir(parents=True, exist_ok=True)
            lock = cache_dir.absolute() / f".{home.name}.lock"
            with alone(lock, f"--images {folder}: another process is indexing it; waiting"):
                with waiting("Opening the index"):
                    builder = Builder(home, folder, pictures)
                n_new = builder.add_new(load)
                builder.tidy()
                codes = update_codes(home, builder.pieces) if multiplies_bytes() else ()
                return cls._of(home, builder.pieces, codes, builder.unreadable, n_new)
        except OSError as error:
            pieces = read_whole(home, pictures) if error.errno in _NOT_WRITABLE else None
            if pieces is not None:
                return cls._of(home, pieces, read_codes(home, pieces) if multiplies_bytes() else (), {}, 0)
            place = f" ({error.filename})" if error.filename else ""
            raise InputError(
                f"cache_dir {cache_dir}: cannot write the index: {error.strerror or error}{place}"
            ) from error

    @classmethod
    def _of(
        cls,
        home: Path,
        pieces: Sequence[Piece],
        codes: tuple[CodedPiece, ...],
        unreadable: Mapping[str, str],
        n_new: int,
    ) -> ImageIndex:
        names = tuple(stamp.name for piece in pieces for stamp in piece.stamps)
        broken = {stamp.name: reason for piece in pieces for stamp, reason in piece.broken.items()}
        digests_N4 = np.concatenate([np.empty((0, 4), np.uint64), *(piece.digests for piece in pieces)])
        _, file_of = _first_equals(digests_N4[:, :2])
        firsts, pixels_of = _first_equals(digests_N4[:, 2:])
        return cls(
            names,
            tuple(MappedVectors(piece.path.with_suffix(".npy")) for piece in pieces),
            dict(sorted((broken | dict(unreadable)).items())),
            n_new,
            file_of,
            firsts[pixels_of],
            digests_N4[:, 2].copy(),  # frees the others
            codes,
            home,
        )

    def search(self, queries_QE: Vectors, n_best: int) -> list[list[Match]]:
        """Return the best matches of each query, the best first; equal pictures are ordered by name.

        Files with the same bytes are one match, under the first name.

        Args:
            queries_QE: float32 vectors of length 1.
            n_best: Greatest number of matches per query.
        """
        return [ranking.matches(n_best) for ranking in self.rankings(queries_QE)]

    def rankings(self, queries_QE: Vectors) -> list[Ranking]:
        """Return the ranking of each query.

        Args:
            queries_QE: float32 vectors of length 1.
        """
        if self.codes:
            return [Ranking(self, query_E, BoundedScores(self, query_E)) for query_E in queries_QE]
        scores_QN = self.scores(queries_QE).T
        return [Ranking(self, *each) for each in zip(queries_QE, map(AllScores, scores_QN), strict=True)]

    def scores(self, queries_QE: Vectors) -> Vectors:
        """Return the (N, Q) float32 products of pictures with queries, equal for pictures of equal pixels.

        Args:
            queries_QE: float32 vectors; cosines come from vectors of length 1.
        """
        scores_NQ = np.empty((len(self.names), len(queries_QE)), np.float32)
        queries_EQ, start = torch.from_numpy(queries_QE).T, 0
        for piece in self.pieces:
            end = start + len(piece.rows)
            # by torch, which the student uses: NumPy's threads would keep spinning beside torch's
            torch.matmul(torch.from_numpy(piece.rows), queries_EQ, out=torch.from_numpy(scores_NQ[start:end]))
            piece.release()
            start = end
        return scores_NQ[self.twin_of]

    def scores_of(self, rows: npt.NDArray[np.intp], query_E: Vectors) -> Vectors:
        """Return the (n,) float32 products of some pictures with a query, equal for equal pixels."""
        twins, places = np.unique(self.twin_of[rows], return_inverse=True)
        scores: Vectors = torch.mv(torch.from_numpy(self.vectors(twins)), torch.from_numpy(query_E)).numpy()
        return scores[places]

    def deviations(self, vectors_KE: Vectors) -> Vectors:
        """Return the (K,) standard deviations of float32 vectors' products with all pictures."""
        deviations_K: Vectors = self.scores(vectors_KE).std(axis=0)
        return deviations_K

    def match(self, rows: Sequence[int], score: float) -> Match:
        """Return the match of a file's rows."""
        first, *others = (self.names[row] for row in rows)
        return Match(first, score, tuple(others))

    def vectors(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Vectors:
        """Return the (n, E) vectors of n rows."""
        rows = np.asarray(rows, np.intp)
        numbers = np.searchsorted(self.starts, rows, side="right") - 1
        vectors: Vectors = np.empty((len(rows), self.pieces[0].rows.shape[1]), np.float32)
        for number in np.unique(numbers):
            (places,) = np.nonzero(numbers == number)
            vectors[places] = self.pieces[number].rows[rows[places] - self.starts[number]]
            self.pieces[number].release()  # a page read maps its neighbours too
        return vectors

    @cached_property
    def starts(self) -> npt.NDArray[np.intp]:
        """First row of each piece, followed by N."""
        return np.cumsum([0, *(len(piece.rows) for piece in self.pieces)])

    def part(self, rows: npt.NDArray[np.intp]) -> ImageIndex:
        """Return an index in memory of some rows and of all pictures with the same pixels."""
        twins = np.unique(self.twin_of[rows])
        of_all, by_twin = self._by_twin
        ends = np.searchsorted(of_all, twins, side="right")
        places = zip(np.searchsorted(of_all, twins), ends, strict=True)
        rows = np.sort(np.concatenate([rows[:0], *(by_twin[start:end] for start, end in places)]))
        return replace(
            self,
            names=tuple(self.names[row] for row in rows),
            pieces=(HeldVectors(self.vectors(rows)),),
            file_of=self.file_of[rows],
            twin_of=np.searchsorted(rows, self.twin_of[rows]),
            pixels=self.pixels[rows],
            codes=(),
            home=None,
        )

    @cached_property
    def _by_twin(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """All values of `twin_of` in order, and their rows."""
        order = np.argsort(self.twin_of, kind="stable")
        return self.twin_of[order], order


def _first_equals(keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the first index of each distinct row of (N, 2), and each row's number among these."""
    _, firsts, numbers = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return firsts, numbers.reshape(-1)
