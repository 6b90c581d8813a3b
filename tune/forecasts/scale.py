"""Scales of objectives on which learning curves are modelled."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from tune.forecasts.coordinates import Floats
from tune.study.trial_record import Mode

_LEAST_ERROR = 1e-3
_TAIL = 3.0
"""Lower bound of a score, in interquartile ranges below the lower quartile."""


class Scale(ABC):
    """Maps objectives to scores, higher is better, and back.

    Args:
        mode: Whether the objective is maximized or minimized.
    """

    def __init__(self, mode: Mode) -> None:
        self._sign = 1.0 if mode == "max" else -1.0

    @abstractmethod
    def scores(self, objectives: Floats) -> Floats:
        """Scores of objectives, float64 of any shape."""

    @abstractmethod
    def objective(self, score: float) -> float:
        """The objective of a score."""


class ErrorScale(Scale):
    """Scale of shares such as accuracies, logarithmic in the error: 0.98 to 0.99 equals 0.8 to 0.9."""

    def scores(self, objectives: Floats) -> Floats:
        """The negative logarithm of the error."""
        found: Floats = -np.log10(1 + _LEAST_ERROR - self._sign * objectives)
        return found

    def objective(self, score: float) -> float:
        """The share whose error `score` encodes; at most 1."""
        return self._sign * min(1 + _LEAST_ERROR - math.pow(10.0, -score), 1.0)


class PlainScale(Scale):
    """Scale of other objectives: linear, with a bound that limits the effect of outliers.

    Args:
        mode: Whether the objective is maximized or minimized.
        objectives: All objectives of the search so far.
    """

    def __init__(self, mode: Mode, objectives: Floats) -> None:
        super().__init__(mode)
        low, high = np.quantile(self._sign * objectives, [0.25, 0.75])
        self._least = low - _TAIL * (high - low)

    def scores(self, objectives: Floats) -> Floats:
        """The objectives, negated if they are minimized, and bounded below."""
        found: Floats = np.maximum(self._sign * objectives, self._least)
        return found

    def objective(self, score: float) -> float:
        """The objective of a score."""
        return self._sign * score


def scale_of(mode: Mode, objectives: Floats) -> Scale:
    """The scale for the objectives of a search: `ErrorScale` if all of them are shares to maximize.

    Minimizing x equals maximizing -x here too.
    """
    scores = objectives if mode == "max" else -objectives
    if scores.min() >= 0 and scores.max() <= 1:
        return ErrorScale(mode)
    return PlainScale(mode, objectives)
