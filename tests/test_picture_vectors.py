"""The vectors of `benchmarks/picture_vectors.py`, and the benchmark of approximate indexes without data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import approximate_index
from benchmarks.measure import Options
from benchmarks.picture_vectors import DIMENSION, N_HELD_OUT, PictureVectors


@pytest.fixture
def source(tmp_path: Path) -> PictureVectors:
    real = np.random.default_rng(0).standard_normal((N_HELD_OUT + 500, 16)).astype(np.float16)
    np.save(tmp_path / "targets.npy", real)
    return PictureVectors(tmp_path / "targets.npy", seed=0)


def test_pictures_and_texts_lie_in_cones_of_their_own(source: PictureVectors) -> None:
    pictures = np.concatenate(list(source.pictures(1_000, 300)))
    texts = source.texts(200)
    assert (pictures.shape, texts.shape) == ((1_000, DIMENSION), (200, DIMENSION))
    for vectors in (pictures, texts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert np.mean(pictures[:500] @ pictures[500:].T) == pytest.approx(0.45, abs=0.1)
    assert np.mean(texts @ pictures.T) == pytest.approx(0, abs=0.1)
    assert np.mean(np.max(texts @ pictures.T, axis=1)) > 0.2


def test_some_pictures_repeat_the_one_before(source: PictureVectors) -> None:
    (pictures,) = source.pictures(1_000, 1_000)
    cosines = (pictures[1:] * pictures[:-1]).sum(axis=1)
    assert np.mean(cosines > 0.95) == pytest.approx(0.1, abs=0.03)


def test_without_real_vectors_the_row_is_skipped() -> None:
    (row,) = approximate_index.run(Options())
    assert row.figure is None
    assert row.detail.startswith("skipped: ")
