"""Rankings with codes are those of all vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from themo.image_search import index as index_module
from themo.image_search.codes import round_vectors
from themo.image_search.codes_folder import CodedPiece
from themo.image_search.index import ImageIndex
from themo.image_search.pieces import HeldVectors
from themo.image_search.ranking import AllScores, BoundedScores, Ranking


class HeldIntegers(HeldVectors):
    """Integers in memory, as those of a file."""


def coded(vectors: np.ndarray) -> CodedPiece:
    integers, rounding = round_vectors(vectors)
    return CodedPiece(HeldIntegers(integers), rounding)  # type: ignore[arg-type]


def index_of(vectors: np.ndarray, n_pieces: int, n_equal: int = 0) -> ImageIndex:
    """An index with codes; the last `n_equal` pictures have the pixels and names after those of the first."""
    n = len(vectors)
    twin_of = np.arange(n)
    twin_of[n - n_equal :] = 0
    vectors = vectors.copy()
    vectors[n - n_equal :] = vectors[0] + np.float32(3e-8)  # as of another batch
    parts = np.array_split(vectors, n_pieces)
    return ImageIndex(
        tuple(f"{row:05d}" for row in range(n)),
        tuple(map(HeldVectors, parts)),
        {},
        0,
        file_of=np.arange(n),
        twin_of=twin_of,
        pixels=twin_of.astype(np.uint64),
        codes=tuple(map(coded, parts)),
    )


def random_vectors(random: np.random.Generator, n: int, dimension: int) -> np.ndarray:
    vectors = random.standard_normal((n, dimension)) + random.standard_normal(dimension)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 3000),
    n_pieces=st.integers(1, 4),
    n_equal=st.integers(0, 20),
    n_best=st.integers(1, 30),
)
def test_the_ranking_is_that_of_all_vectors(
    seed: int, n: int, n_pieces: int, n_equal: int, n_best: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = random_vectors(random, n, 24)
    index = index_of(vectors, min(n_pieces, n), min(n_equal, n - 1))
    query = random_vectors(random, 1, 24)
    (bounded,), (all_compared,) = (each.search(query, n_best) for each in (index, replace(index, codes=())))
    scores = [[match.score for match in matches] for matches in (bounded, all_compared)]
    np.testing.assert_allclose(*scores, atol=1e-6)
    names = [[match.name for match in matches] for matches in (bounded, all_compared)]
    exact = (vectors[index.twin_of] @ query[0]).astype(np.float64)
    for ours, theirs in zip(*names, strict=True):  # in another order only where the rounding decides
        assert ours == theirs or abs(exact[int(ours)] - exact[int(theirs)]) < 1e-6


def test_few_vectors_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    index = index_of(random_vectors(random, 5000, 64), 3)
    compared: list[int] = []
    scores_of: Callable[..., np.ndarray] = ImageIndex.scores_of

    def watched(index: ImageIndex, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        compared.append(len(rows))
        return scores_of(index, rows, query)

    def never(index: ImageIndex, queries: np.ndarray) -> np.ndarray:
        raise AssertionError("all vectors are compared")

    monkeypatch.setattr(ImageIndex, "scores_of", watched)
    monkeypatch.setattr(ImageIndex, "scores", never)
    index.search(random_vectors(random, 1, 64), 10)
    (n,) = compared
    assert 10 <= n < 100


def test_many_equal_pictures_are_compared_in_order() -> None:
    random = np.random.default_rng(0)
    vectors = np.repeat(random_vectors(random, 4, 16), 200, axis=0)
    index = index_of(vectors, 2)
    (matches,) = index.search(vectors[:1], 3)
    assert [match.name for match in matches] == ["00000", "00001", "00002"]


@pytest.mark.parametrize("kind", ["all", "bounded"])
def test_more_than_the_first_files_are_ranked_on_demand(kind: str) -> None:
    random = np.random.default_rng(2)
    vectors = random_vectors(random, 500, 32)
    index, query = index_of(vectors, 3), vectors[7]
    scores = BoundedScores(index, query) if kind == "bounded" else AllScores(vectors @ query)
    files = Ranking(index, query, scores).files(2)
    expected = np.argsort(-(vectors @ query))
    assert [rows[0] for rows in islice(files, 20)] == list(expected[:20])
    assert [rows[0] for rows in files] == list(expected[20:])


def test_codes_are_opened_where_they_save_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for saves in (True, False):
        monkeypatch.setattr(index_module, "multiplies_bytes", lambda saves=saves: saves)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        index = ImageIndex.update(tmp_path / str(saves), tmp_path / "pictures", [], "tiny", pytest.fail)
        assert index.codes == ()
        assert bool(list((tmp_path / str(saves)).glob("*.codes"))) == saves
