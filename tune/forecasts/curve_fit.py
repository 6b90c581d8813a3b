"""The most probable hyperparameters of a process of learning curves.

Formulas are those of Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, chapter 5.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotri
from scipy.optimize import Bounds, minimize

from tune.forecasts.coordinates import Coordinates, Floats
from tune.forecasts.covariance import (
    JITTER,
    Covariance,
    Hyperparameters,
    Reports,
    Times,
    covariance,
    on_one_thread,
)

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
"""Prior of the variance of a report's noise, in units of the standardized scores."""
_SPAN = (2.0, 0.7)
"""Prior of the length scale of Kt, in doublings of the pairs."""


class Fit:
    """The posterior density of the hyperparameters, given standardized scores at reports.

    Args:
        coordinates: Coordinates of settings in the search space.
        known: The reports.
        scores: Their standardized scores, float64 of shape (reports,).
    """

    def __init__(self, coordinates: Coordinates, known: Reports, scores: Floats) -> None:
        self._known, self._scores = known, scores
        # all pairs of reports once, a triangle of the symmetric covariance: half the work
        self._triangle = rows, columns = np.tril_indices(len(known))
        self._transposed = columns * len(known) + rows  # flat, in the transpose: LAPACK's arrays lie so
        self._is_diagonal = rows == columns
        self._squares = coordinates.squared_differences(known.settings[rows], known.settings[columns])
        self._is_same = (known.trials[rows] == known.trials[columns]).astype(np.float64)
        self._times = Times.of(known.times[rows], known.times[columns])
        priors = np.array([_INVERSE_SCALE] * coordinates.n + [*_SHARED, *_OWN, _NOISE, _SPAN])
        self.prior, self._deviation = np.log(priors[:, 0]), priors[:, 1]

    @on_one_thread
    def most_probable(self) -> Hyperparameters:
        """The most probable hyperparameters.

        From initial length scales of a full range, the optimiser finds the optimum that explains scores by
        settings. From longer ones it often finds the one that explains scores by each trial's own deviation.
        """
        start = self.prior.copy()
        start[: len(self._squares)] = 0.0
        reach = _BOUND * self._deviation
        bounds = Bounds(self.prior - reach, self.prior + reach)
        options = {"maxiter": _ITERATIONS}
        found = minimize(self.loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return Hyperparameters.of(found.x)

    def loss(self, logarithms: Floats) -> tuple[float, Floats]:
        """Negative logarithm of the posterior density of the hyperparameters, and its gradient.

        Args:
            logarithms: Logarithms of the hyperparameters, float64 of shape (n + 8,), as the gradient.

        Raises:
            LinAlgError: The covariance is not positive definite in float64.
        """
        theta = Hyperparameters.of(logarithms)
        kernel = theta.settings_kernel(self._squares)
        found = covariance(theta, kernel, self._times, self._is_same)
        factor = cho_factor(self._with_noise(theta, found), lower=True, overwrite_a=True, check_finite=False)
        weights = cho_solve(factor, self._scores, check_finite=False)
        distance = (logarithms - self.prior) / self._deviation
        loss = 0.5 * (self._scores @ weights + distance @ distance) + np.log(np.diag(factor[0])).sum()
        inverse, _ = dpotri(factor[0], lower=True)  # takes a third of the time of `cho_solve`
        rows, columns = self._triangle
        slopes = inverse.T.take(self._transposed) - weights[rows] * weights[columns]
        slopes[self._is_diagonal] *= 0.5  # the others count twice
        gradient = self._gradient(theta, kernel, found, slopes)
        return float(loss), gradient + distance / self._deviation

    def _with_noise(self, theta: Hyperparameters, found: Covariance) -> Floats:
        """Lower triangle of the covariance of the known reports, float64 of shape (reports, reports)."""
        lower = np.zeros((len(self._known), len(self._known)))
        lower[self._triangle] = found.entries
        lower[np.diag_indices(len(self._known))] += theta.noise + JITTER
        return lower

    def _gradient(self, theta: Hyperparameters, kernel: Floats, found: Covariance, slopes: Floats) -> Floats:
        """Gradient of the loss without the priors, from `slopes`, that by the covariance's entries."""
        products, time_kernel = self._times.products, found.time_kernel
        of_kernel, of_same = slopes * kernel, slopes * self._is_same
        shared, own = (
            weights * np.array([part.sum(), part @ products, part @ time_kernel])
            for weights, part in ((theta.shared, of_kernel), (theta.own, of_same))
        )
        of_settings = -0.5 * theta.inverse * (self._squares @ (slopes * found.of_shared))
        rough = theta.shared[2] * of_kernel + theta.own[2] * of_same
        of_span = rough @ (time_kernel * self._times.spans) / theta.span
        of_noise = slopes[self._is_diagonal].sum() * theta.noise
        return np.concatenate([of_settings, shared, own, [of_noise, of_span]])
