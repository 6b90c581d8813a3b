"""Vectors as integers of a byte: the bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from themo.image_search.codes import LARGEST, RoundedQuery, multiplies_bytes, round_vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    dimension=st.integers(1, 300),
    shared=st.floats(0, 100),
    outlier=st.floats(0, 100),
)
def test_every_product_lies_within_its_bounds(
    seed: int, n: int, dimension: int, shared: float, outlier: float
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n, dimension)) + shared * random.standard_normal(dimension)
    vectors[random.integers(n), random.integers(dimension)] += outlier
    query = random.standard_normal(dimension)
    query[random.integers(dimension)] += outlier
    vectors, query = unit(vectors), unit(query)
    integers, rounding = round_vectors(vectors)
    bounds = rounding.bounds(integers, RoundedQuery.of(query))
    exact = vectors.astype(np.float64) @ query.astype(np.float64)
    assert (np.abs(bounds.estimates_P - exact) <= bounds.errors_P).all()


@pytest.mark.parametrize(("n_large", "widest"), [(768, 0.75), (2, 1.75)])
def test_the_bounds_are_narrow_beside_the_spread(n_large: int, widest: float) -> None:
    random = np.random.default_rng(n_large)
    # half of the length lies in dimensions that all vectors share: in all, or in two, as in CLIP's space
    shared = np.zeros(768)
    shared[:n_large] = np.sqrt(768 / n_large)
    vectors = unit(random.standard_normal((1000, 768)) + shared)
    query = unit(random.standard_normal(768) + shared)
    integers, rounding = round_vectors(vectors)
    bounds = rounding.bounds(integers, RoundedQuery.of(query))
    assert np.abs(integers).max() == LARGEST
    assert bounds.errors_P.max() < widest * (vectors @ query).std()


def test_equal_vectors_and_none_are_rounded_too() -> None:
    vectors = unit(np.ones((3, 5)))
    integers, rounding = round_vectors(vectors)
    bounds = rounding.bounds(integers, RoundedQuery.of(vectors[0]))
    np.testing.assert_allclose(bounds.estimates_P, 1, atol=1e-6)
    assert bounds.errors_P.max() < 1e-5
    integers, rounding = round_vectors(np.empty((0, 5), np.float32))
    assert len(rounding.bounds(integers, RoundedQuery.of(vectors[0])).estimates_P) == 0


@pytest.mark.skipif(not multiplies_bytes(), reason="needs a processor with instructions for bytes")
@pytest.mark.parametrize("n", [1, 7, 1000])
def test_sums_of_the_largest_products_do_not_saturate(n: int) -> None:
    rows = torch.full((n, 768), -LARGEST, dtype=torch.int8)
    column = torch.full((768, 1), -LARGEST, dtype=torch.int8)
    assert torch._int_mm(rows, column).unique().tolist() == [768 * LARGEST**2]
