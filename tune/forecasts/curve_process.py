"""A Gaussian process over settings and sentence pairs seen: one model of all learning curves of a search.

After "Freeze-Thaw Bayesian Optimization" (Swersky et al., 2014, https://arxiv.org/abs/1406.3896): similar
settings have similar curves, and each curve has its own persistent deviation from them. On a scale
logarithmic in the odds (`tune.forecasts.scale`) a line in the logarithm of the pairs is a logistic function
of it, near its end a power law. Level and slope depend smoothly on the settings, and each trial deviates from
them (`tune.forecasts.covariance`). Formulas are those of Rasmussen and Williams, "Gaussian Processes for
Machine Learning", 2006, chapter 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve, solve_triangular

from tune.forecasts.coordinates import Coordinates, Floats
from tune.forecasts.covariance import JITTER, Hyperparameters, Reports, Times, covariance, on_one_thread
from tune.forecasts.curve_fit import Fit


class CurveProcess:
    """Gaussian process of learning curves, fitted to scores at reports.

    Args:
        coordinates: Coordinates of settings in the search space.
        known: The reports.
        scores: Score of each report, higher is better, float64 of shape (reports,).
        like: A process with the hyperparameters and the scale of scores to use; None: they are fitted.
    """

    @on_one_thread
    def __init__(
        self, coordinates: Coordinates, known: Reports, scores: Floats, like: CurveProcess | None = None
    ) -> None:
        self._coordinates, self._known = coordinates, known
        if like is None:
            self._center, self._unit = float(scores.mean()), float(scores.std()) + 1e-6
        else:
            self._center, self._unit = like._center, like._unit
        self._scores = (scores - self._center) / self._unit
        self._theta: Hyperparameters = (
            Fit(coordinates, known, self._scores).most_probable() if like is None else like._theta
        )
        noisy = self._covariance(known)
        noisy[np.diag_indices(len(known))] += self._theta.noise + JITTER
        self._factor = np.linalg.cholesky(noisy)
        self._weights: Floats = cho_solve((self._factor, True), self._scores)

    @on_one_thread
    def predict(self, asked: Reports) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the noiseless scores at other reports, each of shape (asked,)."""
        found = self._given_known(asked)
        return self._unstandardized(found.means, found.variances)

    @on_one_thread
    def predict_after(self, asked: Reports, seen: Reports, scores: Floats) -> tuple[Floats, Floats]:
        """As `predict`, where each row of `asked` also has one report that is not among the known ones.

        Args:
            asked: The reports to predict.
            seen: One report of the same trial for each row of `asked`.
            scores: Their scores, float64 of shape (asked,).
        """
        theta = self._theta
        later, own = self._given_known(asked), self._given_known(seen)
        prior = covariance(theta, 1.0, Times.of(asked.times, seen.times), is_same=True).entries
        covariances = prior - (later.solved * own.solved).sum(axis=0)
        gains = covariances / (own.variances + theta.noise + JITTER)
        means = later.means + gains * ((scores - self._center) / self._unit - own.means)
        return self._unstandardized(means, later.variances - gains * covariances)

    def _given_known(self, asked: Reports) -> _Posterior:
        cross = self._covariance(asked)
        solved = solve_triangular(self._factor, cross.T, lower=True)
        prior = covariance(self._theta, 1.0, Times.of(asked.times, asked.times), is_same=True).entries
        return _Posterior(cross @ self._weights, prior - (solved**2).sum(axis=0), solved)

    def _covariance(self, asked: Reports) -> Floats:
        """Covariance of reports and the known ones without noise, float64 of shape (asked, known)."""
        known, is_same = self._known, asked.trials[:, None] == self._known.trials
        distances = self._coordinates.squared_distances(asked.settings, known.settings, self._theta.inverse)
        times = Times.of(asked.times[:, None], known.times)
        return covariance(self._theta, np.exp(-0.5 * distances), times, is_same).entries

    def _unstandardized(self, means: Floats, variances: Floats) -> tuple[Floats, Floats]:
        deviations = np.sqrt(np.maximum(variances, 1e-9))
        return self._center + self._unit * means, self._unit * deviations

    @property
    def noise(self) -> float:
        """Standard deviation of the noise of a report."""
        return self._unit * math.sqrt(self._theta.noise + JITTER)


class _Posterior(NamedTuple):
    """Standardized scores at some reports, given the known ones.

    Attributes:
        means, variances: float64 of shape (reports,).
        solved: The covariances with the known reports, divided by the Cholesky factor, float64 of shape
            (known, reports).
    """

    means: Floats
    variances: Floats
    solved: Floats
