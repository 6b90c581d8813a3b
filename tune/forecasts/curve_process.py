"""A Gaussian process over settings and sentence pairs seen: one model of all learning curves of a search.

After "Freeze-Thaw Bayesian Optimization" (Swersky et al., 2014, https://arxiv.org/abs/1406.3896): similar
settings have similar curves, and each curve has its own persistent deviation from them. Here a score is a
line in t, the logarithm of the pairs, plus a rough part. On a scale logarithmic in the error a line is a
power law. Level and slope depend smoothly on the settings, and each trial deviates from them. The covariance
of two reports is

    Kx (a + b t t' + c Kt) + [same trial] (d + e t t' + f Kt) + noise [same report],

with Kx a squared exponential over the settings, one length scale a setting, and Kt an exponential over the
difference of t. The mean is a line too, its two weights integrated out. Formulas are those of Rasmussen and
Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import Bounds, minimize
from threadpoolctl import ThreadpoolController

from tune.forecasts.coordinates import Coordinates, Floats

_BLAS = ThreadpoolController()
_Function = TypeVar("_Function", bound=Callable[..., object])


def _on_one_thread(function: _Function) -> _Function:
    """Limit the linear algebra of a function to one thread.

    Threads that share a small matrix wait for each other, especially while trials use all cores. The result
    is also bitwise equal on any number of cores.
    """
    limited: _Function = _BLAS.wrap(limits=1, user_api="blas")(function)
    return limited


_MEAN_VARIANCE = 10.0
"""Prior variance of the two weights of the mean, in units of the standardized scores."""
_JITTER = 1e-4
_ITERATIONS = 40
_BOUND = 4.0
"""Bound of a hyperparameter, in standard deviations of its prior, so that no covariance degenerates."""

# log-normal priors of the hyperparameters: median and standard deviation of the logarithm
_INVERSE_SCALE = (0.3, 1.5)
"""Prior of 1 / length scale squared of a setting, on ranges from 0 to 1."""
_SHARED = ((0.5, 1.0), (0.05, 1.0), (0.1, 1.0))
"""Priors of a, b and c."""
_OWN = ((0.05, 1.0), (0.005, 1.0), (0.05, 1.0))
"""Priors of d, e and f."""
_NOISE = (0.01, 1.0)
_SPAN = (2.0, 0.7)
"""Prior of the length scale of Kt, in doublings of the pairs."""


@dataclass(frozen=True)
class Reports:
    """Reports of trials, as rows.

    Attributes:
        settings: Coordinates, float64 of shape (reports, n).
        times: Binary logarithm of the share of a whole trial, 0 at its end, float64 of shape (reports,).
        trials: The trial of each report, int64 of shape (reports,); trials with equal numbers are the same.
    """

    settings: Floats
    times: Floats
    trials: np.ndarray[tuple[int], np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.times)


class CurveProcess:
    """Gaussian process of learning curves, fitted to scores at reports.

    Args:
        coordinates: Coordinates of settings in the search space.
        known: The reports.
        scores: Score of each report, higher is better, float64 of shape (reports,).
        like: A process with the hyperparameters to use; None: they are fitted.
    """

    @_on_one_thread
    def __init__(
        self, coordinates: Coordinates, known: Reports, scores: Floats, like: CurveProcess | None = None
    ) -> None:
        self._coordinates, self._known = coordinates, known
        self._center, self._unit = float(scores.mean()), float(scores.std()) + 1e-6
        self._scores = (scores - self._center) / self._unit
        # all pairs of reports once, a triangle of the symmetric covariance: half the work
        self._triangle = rows, columns = np.tril_indices(len(known))
        self._transposed = columns * len(known) + rows  # flat, in the transpose: LAPACK's arrays lie so
        self._is_diagonal = rows == columns
        self._squares = coordinates.squared_differences(known.settings[rows], known.settings[columns])
        self._is_same = (known.trials[rows] == known.trials[columns]).astype(np.float64)
        self._times = _Times.of(known.times[rows], known.times[columns])
        priors = np.array([_INVERSE_SCALE] * coordinates.n + [*_SHARED, *_OWN, _NOISE, _SPAN])
        self._prior, self._deviation = np.log(priors[:, 0]), priors[:, 1]
        self._theta: Floats = self._fit() if like is None else like._theta
        self._factor = np.linalg.cholesky(self._covariance(_Hyperparameters.of(self._theta)).lower)
        self._weights: Floats = cho_solve((self._factor, True), self._scores)

    @_on_one_thread
    def predict(self, asked: Reports) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noiseless scores at other reports, each of shape (asked,)."""
        theta = _Hyperparameters.of(self._theta)
        times = _Times.of(asked.times[:, None], self._known.times)
        near, is_same = times.near(theta.span), asked.trials[:, None] == self._known.trials
        cross = self._alike(theta, asked) * times.mixed(theta.shared, near) + times.of_mean
        cross += is_same * times.mixed(theta.own, near)
        solved = solve_triangular(self._factor, cross.T, lower=True)
        level, slope, rough = theta.shared + theta.own
        prior = level + slope * asked.times**2 + rough + _MEAN_VARIANCE * (1 + asked.times**2)
        variance = np.maximum(prior - (solved**2).sum(axis=0), 1e-9)
        return self._center + self._unit * (cross @ self._weights), self._unit * np.sqrt(variance)

    def _alike(self, theta: _Hyperparameters, asked: Reports) -> Floats:
        """Kx of `asked` and known reports, without an array of all differences."""
        distances = self._coordinates.squared_distances(asked.settings, self._known.settings, theta.inverse)
        found: Floats = np.exp(-0.5 * distances)
        return found

    @property
    def noise(self) -> float:
        """Standard deviation of the noise of a report."""
        return self._unit * math.sqrt(_Hyperparameters.of(self._theta).noise + _JITTER)

    def _fit(self) -> Floats:
        """The most probable hyperparameters, as logarithms.

        From initial length scales of a full range, the optimiser finds the optimum that explains scores by
        settings. From longer ones it often finds the one that explains scores by each trial's own deviation.
        """
        start = self._prior.copy()
        start[: self._coordinates.n] = 0.0
        reach = _BOUND * self._deviation
        bounds = Bounds(self._prior - reach, self._prior + reach)
        options = {"maxiter": _ITERATIONS}
        found: Floats = minimize(
            self._loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
        ).x
        return found

    def _covariance(self, theta: _Hyperparameters) -> _Covariance:
        """Covariance of the known reports."""
        alike, near = theta.alike(self._squares), self._times.near(theta.span)
        of_shared = alike * self._times.mixed(theta.shared, near)
        entries = of_shared + self._is_same * self._times.mixed(theta.own, near) + self._times.of_mean
        entries[self._is_diagonal] += theta.noise + _JITTER
        lower = np.zeros((len(self._known), len(self._known)))
        lower[self._triangle] = entries
        return _Covariance(lower, alike, near, of_shared)

    def _loss(self, logarithms: Floats) -> tuple[float, Floats]:
        """Negative logarithm of the posterior density of the hyperparameters, and its gradient."""
        theta = _Hyperparameters.of(logarithms)
        covariance = self._covariance(theta)
        factor = cho_factor(covariance.lower, lower=True, overwrite_a=True, check_finite=False)
        weights = cho_solve(factor, self._scores, check_finite=False)
        distance = (logarithms - self._prior) / self._deviation
        loss = 0.5 * (self._scores @ weights + distance @ distance) + np.log(np.diag(factor[0])).sum()
        inverse, _ = dpotri(factor[0], lower=True)  # a third of the time of solving for it
        rows, columns = self._triangle
        slopes = inverse.T.take(self._transposed) - weights[rows] * weights[columns]
        slopes[self._is_diagonal] *= 0.5  # the others count twice
        return float(loss), self._gradient(theta, covariance, slopes) + distance / self._deviation

    def _gradient(self, theta: _Hyperparameters, covariance: _Covariance, slopes: Floats) -> Floats:
        """Gradient of the loss without the priors, by that with respect to the covariance's entries."""
        times, near = self._times, covariance.near
        alike, same = slopes * covariance.alike, slopes * self._is_same
        shared, own = (
            weights * np.array([part.sum(), part @ times.products, part @ near])
            for weights, part in ((theta.shared, alike), (theta.own, same))
        )
        of_settings = -0.5 * theta.inverse * (self._squares @ (slopes * covariance.of_shared))
        rough = theta.shared[2] * alike + theta.own[2] * same
        of_span = rough @ (near * times.spans) / theta.span
        of_noise = slopes[self._is_diagonal].sum() * theta.noise
        return np.concatenate([of_settings, shared, own, [of_noise, of_span]])


class _Covariance(NamedTuple):
    """Covariance of the known reports, and its parts.

    Attributes:
        lower: Lower triangle, float64 of shape (reports, reports).
        alike: Kx of each pair of reports, float64 of shape (pairs,).
        near: Kt of each pair.
        of_shared: Kx (a + b t t' + c Kt) of each pair.
    """

    lower: Floats
    alike: Floats
    near: Floats
    of_shared: Floats


@dataclass(frozen=True)
class _Hyperparameters:
    """The hyperparameters by name.

    Attributes:
        inverse: Inverse squared length scales of the settings, float64 of shape (n,).
        shared, own: Weights of level, slope and rough part: shared by trials, and each trial's own, float64
            of shape (3,).
        noise: Variance of a report's noise.
        span: Length scale of the rough part.
    """

    inverse: Floats
    shared: Floats
    own: Floats
    noise: float
    span: float

    @classmethod
    def of(cls, logarithms: Floats) -> _Hyperparameters:
        values = np.exp(logarithms)
        return cls(values[:-8], values[-8:-5], values[-5:-2], float(values[-2]), float(values[-1]))

    def alike(self, squares: Floats) -> Floats:
        """Kx, from the squared differences of all settings."""
        found: Floats = np.exp(-0.5 * (self.inverse @ squares))
        return found


@dataclass(frozen=True)
class _Times:
    """Products and differences of the times of pairs of reports, float64."""

    products: Floats
    spans: Floats

    @classmethod
    def of(cls, a: Floats, b: Floats) -> _Times:
        return cls(a * b, np.abs(a - b))

    @property
    def of_mean(self) -> Floats:
        """Prior covariance of the mean."""
        found: Floats = _MEAN_VARIANCE * (1 + self.products)
        return found

    def near(self, span: float) -> Floats:
        """Kt."""
        found: Floats = np.exp(-self.spans / span)
        return found

    def mixed(self, weights: Floats, near: Floats) -> Floats:
        """The sum of level, slope and rough part."""
        level, slope, rough = weights
        found: Floats = level + slope * self.products + rough * near
        return found


def time_of(pairs: float, whole: float) -> float:
    """Binary logarithm of the share of a whole trial."""
    return math.log2(pairs / whole)
