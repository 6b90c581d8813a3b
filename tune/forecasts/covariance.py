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
from typing import NamedTuple, TypeVar

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

    def settings_kernel(self, squares: Floats) -> Floats:
        """Kx, from the squared differences of all settings, float64 of shape (n, pairs)."""
        found: Floats = np.exp(-0.5 * (self.inverse @ squares))
        return found


@dataclass(frozen=True)
class Times:
    """Products and differences of the times of pairs of reports, float64 of equal shapes."""

    products: Floats
    spans: Floats

    @classmethod
    def of(cls, a: Floats, b: Floats) -> Times:
        """The products and differences of two arrays of times, which are broadcast."""
        return cls(a * b, np.abs(a - b))


class Covariance(NamedTuple):
    """Covariance of pairs of reports without noise, and the parts that its gradient needs.

    Attributes:
        entries: The covariance, float64 of the shape of `Times`, as the next two.
        time_kernel: Kt.
        of_shared: Kx (a + b t t' + c Kt).
    """

    entries: Floats
    time_kernel: Floats
    of_shared: Floats


def covariance(
    theta: Hyperparameters, settings_kernel: Floats | float, times: Times, is_same: Floats | bool
) -> Covariance:
    """The covariance of pairs of reports.

    Args:
        theta: The hyperparameters.
        settings_kernel: Kx of each pair; 1 for pairs of the same settings.
        times: The times of the pairs.
        is_same: Whether the reports of a pair are of the same trial.
    """
    time_kernel = times.spans * (-1 / theta.span)
    np.exp(time_kernel, out=time_kernel)
    of_shared = _line_and_rough(theta.shared, times.products, time_kernel)
    of_shared *= settings_kernel
    entries = _line_and_rough(theta.own, times.products, time_kernel)
    entries *= is_same
    entries += of_shared
    entries += MEAN_VARIANCE * times.products
    entries += MEAN_VARIANCE
    return Covariance(entries, time_kernel, of_shared)


def _line_and_rough(weights: Floats, products: Floats, time_kernel: Floats) -> Floats:
    level, slope, rough = weights
    found: Floats = slope * products
    found += rough * time_kernel
    found += level
    return found


def time_of(pairs: float, whole: float) -> float:
    """Binary logarithm of the share of a whole trial."""
    return math.log2(pairs / whole)
