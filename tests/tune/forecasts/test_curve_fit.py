from __future__ import annotations

import numpy as np
import pytest
from power_laws import COORDINATES, curve, reports_of
from scipy.optimize import approx_fprime

from tune.forecasts.coordinates import Floats
from tune.forecasts.curve_fit import Fit


def logarithms(fit: Fit) -> Floats:
    """The most probable hyperparameters in the order in which the loss expects them."""
    found = fit.most_probable()
    values = [*found.inverse, *found.shared, *found.own, found.noise, found.span]
    return np.log(np.array(values, dtype=np.float64))


def fit_of(settings: Floats, lengths: list[int], random: np.random.Generator) -> Fit:
    scores = np.concatenate([curve(s, random)[:n] for s, n in zip(settings, lengths, strict=True)])
    return Fit(COORDINATES, reports_of(settings, lengths), (scores - scores.mean()) / scores.std())


def test_the_gradient_is_that_of_the_loss() -> None:
    random = np.random.default_rng(0)
    fit = fit_of(random.random((4, 2)), [5, 3, 1, 2], random)
    for theta in (fit.prior, logarithms(fit), fit.prior + 0.5):
        _, gradient = fit.loss(theta)
        numeric = approx_fprime(theta, lambda t: fit.loss(t)[0], 1e-6)
        assert gradient == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_the_fit_is_more_probable_than_the_prior() -> None:
    random = np.random.default_rng(1)
    fit = fit_of(random.random((6, 2)), [5] * 6, random)
    assert fit.loss(logarithms(fit))[0] < fit.loss(fit.prior)[0]
