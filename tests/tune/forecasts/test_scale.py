from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.forecasts.scale import ErrorScale, PlainScale, scale_of

shares = st.lists(st.floats(0, 1), min_size=1, max_size=9).map(np.array)
numbers = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9).map(np.array)


@given(shares)
def test_shares_return_from_the_error_scale(objectives: np.ndarray) -> None:
    scale = scale_of("max", objectives)
    assert isinstance(scale, ErrorScale)
    scores = scale.scores(objectives)
    assert np.allclose([scale.objective(score) for score in scores], objectives)
    assert (np.diff(scores[np.argsort(objectives)]) >= 0).all()


@given(shares | numbers)
def test_minimizing_is_maximizing_the_negative(objectives: np.ndarray) -> None:
    scores = scale_of("max", objectives).scores(objectives)
    assert np.array_equal(scores, scale_of("min", -objectives).scores(-objectives))


def test_an_error_halved_counts_the_same_anywhere() -> None:
    scale = scale_of("max", np.array([0.5]))
    a, b, c, d = scale.scores(np.array([0.6, 0.8, 0.96, 0.98]))
    assert b - a == pytest.approx(d - c, rel=0.1)


def test_one_diverged_value_does_not_stretch_the_scale() -> None:
    losses = np.array([1.0, 1.1, 1.2, 1.3, 1e9])
    scale = scale_of("min", losses)
    assert isinstance(scale, PlainScale)
    scores = scale.scores(losses)
    assert scores[:4] == pytest.approx(-losses[:4])
    assert scores[4] > -3
    assert scale.objective(scores[1]) == pytest.approx(1.1)
