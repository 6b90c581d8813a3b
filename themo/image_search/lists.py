"""Inverted lists of faiss: the pictures around each centroid, at one bit per dimension.

A query searches the lists of its nearest centroids. The codes are those of RaBitQ (Gao and Long 2024,
arXiv:2405.12497): the sign of each dimension of the difference to the centroid, with two corrections. The
codes rank pictures roughly, so that the stored vectors of more pictures than requested are compared.
``docs/experiments/approximate-picture-search.md`` compares other indexes.

Shape suffixes: Q queries, E dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from themo.image_search.pieces import HeldVectors, MappedVectors, Vectors
from themo.process.devices import cores

Piece = MappedVectors | HeldVectors
Ids = npt.NDArray[np.int64]

SAMPLE_PER_LIST = 40
"""Mean number of training pictures per centroid; faiss advises 39 or more."""
ROUNDS = 8
"""Rounds of k-means."""
QUERY_BITS = 8
"""Bits of a query's dimensions in comparisons."""


class Lists:
    """Inverted lists over pictures, which are numbered in the order in which they were added.

    Args:
        index: faiss's index.
    """

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, pieces: Sequence[Piece], seed: int, advance: Callable[[int], object]) -> Lists:
        """Return lists of all pictures of some pieces.

        Args:
            pieces: float32 vectors of length 1.
            seed: Seed of the sample that centroids are trained on.
            advance: Called with the number of pictures just added.
        """
        import faiss

        n = sum(len(piece.rows) for piece in pieces)
        n_lists = 2 ** round(math.log2(2 * math.sqrt(n)))
        index = faiss.index_factory(
            pieces[0].rows.shape[1], f"IVF{n_lists},RaBitQ", faiss.METRIC_INNER_PRODUCT
        )
        index.cp.niter, index.cp.seed = ROUNDS, seed
        index.cp.min_points_per_centroid = 1  # else faiss warns of small folders
        index.qb = QUERY_BITS
        faiss.omp_set_num_threads(cores())
        index.train(vectors_sample(pieces, n_lists * SAMPLE_PER_LIST, seed))
        for piece in pieces:
            index.add(piece.rows)
            advance(len(piece.rows))
            piece.release()
        return cls(index)

    @classmethod
    def read(cls, path: Path) -> Lists:
        """Read lists that `write` wrote; the caller checks their digest first.

        Raises:
            ValueError: This version of faiss does not read them.
        """
        import faiss

        try:
            return cls(faiss.deserialize_index(np.fromfile(path, np.uint8)))
        except RuntimeError as error:
            raise ValueError(f"{path}: {error}") from error

    def write(self, path: Path) -> None:
        """Write the lists to a file of faiss's format."""
        import faiss

        # faiss's own write_index returns also where the end of the file does not fit on the disk
        path.write_bytes(faiss.serialize_index(self._index))

    def __len__(self) -> int:
        """Return the number of pictures."""
        return int(self._index.ntotal)

    @property
    def n_lists(self) -> int:
        """Number of lists."""
        return int(self._index.nlist)

    def remove(self, ids: Ids) -> None:
        """Remove pictures by their numbers; the others keep theirs."""
        import faiss

        if len(ids):
            self._index.remove_ids(faiss.IDSelectorBatch(ids))

    def search(self, query_E: Vectors, n: int, n_probes: int) -> Ids:
        """Return the numbers of at most n pictures, the nearest first by approximate distance.

        Args:
            query_E: float32 vector of length 1.
            n: Greatest number of pictures.
            n_probes: Number of lists to search.
        """
        import faiss

        faiss.omp_set_num_threads(1)  # a single query gains nothing, and faiss's threads spin beside torch's
        parameters = faiss.IVFRaBitQSearchParameters(nprobe=n_probes, qb=QUERY_BITS)
        ids: Ids = self._index.search(query_E[None], n, params=parameters)[1][0]
        return ids[ids >= 0]


def vectors_sample(pieces: Sequence[Piece], size: int, seed: int) -> Vectors:
    """Return the vectors of random pictures, at most `size`."""
    starts = np.cumsum([0, *(len(piece.rows) for piece in pieces)])
    chosen = np.sort(np.random.default_rng(seed).permutation(starts[-1])[:size])
    parts = np.split(chosen, np.searchsorted(chosen, starts[1:-1]))
    sample = []
    for piece, part, start in zip(pieces, parts, starts[:-1], strict=True):
        sample.append(piece.rows[part - start])
        piece.release()
    return np.concatenate(sample)
