from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.forecasts.scale import OddsScale, PlainScale, scale_of

shares = st.lists(st.floats(0, 1), min_size=1, max_size=9).map(np.array)
cosines = st.lists(st.floats(-1, 1), max_size=9).map(lambda some: np.array([-0.01, 0.5, *some]))
numbers = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9).map(np.array)


@given(shares | cosines)
def test_objectives_return_from_the_odds_scale(objectives: np.ndarray) -> None:
    scale = scale_of("max", objectives)
    assert isinstance(scale, OddsScale)
    scores = scale.scores(objectives)
    assert np.allclose([scale.objective(score) for score in scores], objectives)
    assert (np.diff(scores[np.argsort(objectives)]) >= 0).all()


def test_a_cosine_out_of_reach_is_a_cosine() -> None:
    scale = scale_of("max", np.array([-0.01, 0.5]))
    assert scale.objective(1e6) == 1
    assert scale.objective(-1e6) == -1


@given(shares | cosines | numbers)
def test_minimizing_is_maximizing_the_negative(objectives: np.ndarray) -> None:
    scores = scale_of("max", objectives).scores(objectives)
    assert np.array_equal(scores, scale_of("min", -objectives).scores(-objectives))


def test_halved_errors_have_equal_steps_near_one() -> None:
    scale = scale_of("max", np.array([0.5]))
    a, b, c, d = scale.scores(np.array([0.9, 0.95, 0.96, 0.98]))
    assert b - a == pytest.approx(d - c, rel=0.1)


def test_doubled_shares_have_equal_steps_near_zero() -> None:
    scale = scale_of("max", np.array([0.5]))
    a, b, c, d = scale.scores(np.array([0.02, 0.04, 0.05, 0.1]))
    assert b - a == pytest.approx(d - c, rel=0.1)


def test_a_score_out_of_reach_is_a_share() -> None:
    scale = scale_of("max", np.array([0.5]))
    assert scale.objective(1e6) == 1
    assert scale.objective(-1e6) == 0


def test_one_diverged_value_does_not_stretch_the_scale() -> None:
    losses = np.array([1.0, 1.1, 1.2, 1.3, 1e9])
    scale = scale_of("min", losses)
    assert isinstance(scale, PlainScale)
    scores = scale.scores(losses)
    assert scores[:4] == pytest.approx(-losses[:4])
    assert scores[4] > -3
    assert scale.objective(scores[1]) == pytest.approx(1.1)


def test_losses_below_one_are_plain() -> None:
    """Their negatives lie in the range of cosines, but none is above 0."""
    assert isinstance(scale_of("min", np.array([0.2, 0.5])), PlainScale)
