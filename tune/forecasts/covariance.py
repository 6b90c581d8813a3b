"""The covariance of reports of learning curves: its terms in time, and its hyperparameters.

A score is a line in t, the binary logarithm of the share of a whole trial, plus a rough part. The covariance
of two reports is

    Kx (a + b t t' + c Kt) + [same trial] (d + e t t' + f Kt) + noise [same report],

with Kx a squared exponential over the settings, one length scale a setting, and Kt an exponential over the
difference of t. The mean is a line too, its two weights integrated out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

from tune.forecasts.coordinates import Floats

MEAN_VARIANCE = 10.0
"""Prior variance of the two weights of the mean, in units of the standardized scores."""
JITTER = 1e-4
"""Added to the noise, so that the covariance of equal reports can be factorized."""

_BLAS = ThreadpoolController()
_Function = TypeVar("_Function", bound=Callable[..., object])


def on_one_thread(function: _Function) -> _Function:
    """Limit the linear algebra of a function to one thread.

    Threads that share a small matrix wait for each other, especially while trials use all cores. The result
    is also bitwise equal on any number of cores.
    """
    limited: _Function = _BLAS.wrap(limits=1, user_api="blas")(function)
    return limited


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


@dataclass(frozen=True)
class Hyperparameters:
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
    def of(cls, logarithms: Floats) -> Hyperparameters:
        """The hyperparameters of their logarithms, in the order of the attributes."""
        values = np.exp(logarithms)
        return cls(values[:-8], values[-8:-5], values[-5:-2], float(values[-2]), float(values[-1]))

    def alike(self, squares: Floats) -> Floats:
        """Kx, from the squared differences of all settings."""
        found: Floats = np.exp(-0.5 * (self.inverse @ squares))
        return found


@dataclass(frozen=True)
class Times:
    """Products and differences of the times of pairs of reports, float64."""

    products: Floats
    spans: Floats

    @classmethod
    def of(cls, a: Floats, b: Floats) -> Times:
        """The products and differences of two arrays of times."""
        return cls(a * b, np.abs(a - b))

    @property
    def of_mean(self) -> Floats:
        """Prior covariance of the mean."""
        found: Floats = MEAN_VARIANCE * (1 + self.products)
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
