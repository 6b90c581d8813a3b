"""The indexes that `benchmarks.approximate_index` compares: functions to build, store and search them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.picture_vectors import DIMENSION, Vectors
from themo.image_search.lists import ROUNDS, SAMPLE_PER_LIST, Lists, Piece, vectors_sample
from themo.process.devices import cores

Rows = npt.NDArray[np.int64]

PROBES = (8, 16, 32, 64, 128, 256, 512)
BREADTHS = (50, 100, 200, 400, 800, 1600)
DEGREE, BUILDING_BREADTH = 16, 100
"""Links per node (twice as many in the bottom layer) and construction breadth of every graph."""
N_CODED = 50_000
"""Number of pictures on which codes are trained."""


@dataclass(frozen=True)
class Library:
    """A kind of index.

    Attributes:
        name: Library and kind.
        candidates: Number of candidates for each match: more for coarser codes.
        efforts: Numbers of lists, or of nodes, that a query visits.
        build: Builds an index of pieces of vectors, with all cores.
        write, read: Write the index to a file and read it.
        search: Returns the candidate rows for a text, given their number and the effort, in one thread.
    """

    name: str
    candidates: int
    efforts: Sequence[int]
    build: Callable[[Sequence[Piece]], Any]
    write: Callable[[Any, Path], None]
    read: Callable[[Path], Any]
    search: Callable[[Any, Vectors, int, int], Rows]


def missing() -> str | None:
    """Return the reason why the benchmark cannot run; None if it can."""
    names = [name for name in ("faiss", "usearch", "hnswlib") if find_spec(name) is None]
    return f"skipped: not installed: {', '.join(names)} (pip install '.[indexes]')" if names else None


def libraries() -> list[Library]:
    """Return all kinds of indexes."""
    own = Library(
        "faiss lists, RaBitQ",
        20,
        PROBES,
        lambda pieces: Lists.build(pieces, 0, lambda _: None),
        Lists.write,
        Lists.read,
        Lists.search,
    )
    return [
        own,
        _faiss("lists, 8 bits", "IVF{},SQ8", 2, PROBES),
        _faiss("lists, products of 96 bytes", "IVF{},PQ96", 20, PROBES),
        _faiss("graph, 8 bits", f"HNSW{DEGREE},SQ8", 2, BREADTHS),
        _usearch("f16", 2),
        _usearch("i8", 10),
        _hnswlib(),
    ]


def _faiss(name: str, factory: str, candidates: int, efforts: Sequence[int]) -> Library:
    import faiss

    def build(pieces: Sequence[Piece]) -> Any:
        n_lists = 2 ** round(math.log2(2 * math.sqrt(_count(pieces))))
        index = faiss.index_factory(DIMENSION, factory.format(n_lists), faiss.METRIC_INNER_PRODUCT)
        faiss.omp_set_num_threads(cores())
        n_trained = N_CODED
        if efforts is PROBES:
            n_trained = SAMPLE_PER_LIST * n_lists
            index.cp.niter = ROUNDS
        else:
            index.hnsw.efConstruction = BUILDING_BREADTH
        index.train(vectors_sample(pieces, n_trained, seed=0))
        for rows in _each(pieces):
            index.add(rows)
        return index

    def search(index: Any, text: Vectors, n: int, effort: int) -> Rows:
        faiss.omp_set_num_threads(1)
        parameters = (
            faiss.SearchParametersIVF(nprobe=effort)
            if efforts is PROBES
            else faiss.SearchParametersHNSW(efSearch=max(effort, n))
        )
        rows: Rows = index.search(text[None], n, params=parameters)[1][0]
        return rows[rows >= 0]

    def write(index: Any, path: Path) -> None:
        faiss.write_index(index, str(path))

    return Library(
        f"faiss {name}", candidates, efforts, build, write, lambda path: faiss.read_index(str(path)), search
    )


def _usearch(dtype: str, candidates: int) -> Library:
    from usearch.index import Index

    def build(pieces: Sequence[Piece]) -> Any:
        index = Index(
            ndim=DIMENSION, metric="ip", dtype=dtype, connectivity=DEGREE, expansion_add=BUILDING_BREADTH
        )
        for rows in _each(pieces):
            index.add(np.arange(len(index), len(index) + len(rows)), rows, threads=cores())
        return index

    def search(index: Any, text: Vectors, n: int, effort: int) -> Rows:
        index.expansion_search = max(effort, n)
        return np.asarray(index.search(text, n, threads=1).keys, np.int64)

    return Library(
        f"usearch {dtype}",
        candidates,
        BREADTHS,
        build,
        lambda index, path: index.save(str(path)),
        lambda path: Index.restore(str(path)),
        search,
    )


def _hnswlib() -> Library:
    import hnswlib

    def build(pieces: Sequence[Piece]) -> Any:
        index = hnswlib.Index(space="ip", dim=DIMENSION)
        index.init_index(_count(pieces), ef_construction=BUILDING_BREADTH, M=DEGREE)
        for rows in _each(pieces):
            index.add_items(rows, num_threads=cores())
        return index

    def read(path: Path) -> Any:
        index = hnswlib.Index(space="ip", dim=DIMENSION)
        index.load_index(str(path))
        return index

    def search(index: Any, text: Vectors, n: int, effort: int) -> Rows:
        index.set_ef(max(effort, n))
        rows: Rows = index.knn_query(text[None], n, num_threads=1)[0][0].astype(np.int64)
        return rows

    return Library(
        "hnswlib f32", 1, BREADTHS, build, lambda index, path: index.save_index(str(path)), read, search
    )


def _count(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.rows) for piece in pieces)


def _each(pieces: Sequence[Piece]) -> Iterator[Vectors]:
    """Yield the vectors of each piece; its pages are released afterwards."""
    for piece in pieces:
        yield piece.rows
        piece.release()
