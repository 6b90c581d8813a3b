"""Scales of objectives on which learning curves are modelled."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from tune.forecasts.coordinates import Floats
from tune.study.trial_record import Mode

_MARGIN = 1e-3
"""Added to a share and to its error, so that scores of 0 and 1 are finite: one query of a thousand."""
_HIGHEST = 9.0
"""Bound of a score of `OddsScale` before its power of ten is computed."""
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


class OddsScale(Scale):
    """Scale of shares such as accuracies, and of cosines, logarithmic in their odds.

    Near 1 it is logarithmic in the error: 0.98 to 0.99 is as far as 0.96 to 0.98. Near 0 it is logarithmic in
    the share, so that the first reports of slow trials, 0.001 or 0.05, differ. A curve that rises as a
    logistic function of log pairs is a line. On a scale logarithmic in the error alone, forecasts of slow
    trials are far too high (docs/experiments/forecasts-in-searches.md).

    Args:
        mode: Whether the objective is maximized or minimized.
        least: The lowest value, which counts as a share of 0: 0, or -1 for cosines.
    """

    def __init__(self, mode: Mode, least: float = 0.0) -> None:
        super().__init__(mode)
        self._least = least

    def scores(self, objectives: Floats) -> Floats:
        """The decimal logarithm of the odds."""
        shares = (self._sign * objectives - self._least) / (1 - self._least)
        found: Floats = np.log10(shares + _MARGIN) - np.log10(1 + _MARGIN - shares)
        return found

    def objective(self, score: float) -> float:
        """The objective whose odds `score` encodes, from the lowest value to 1."""
        odds = math.pow(10.0, min(score, _HIGHEST))
        share = (odds * (1 + _MARGIN) - _MARGIN) / (1 + odds)
        return self._sign * (self._least + (1 - self._least) * min(max(share, 0.0), 1.0))


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
    """The scale for the objectives of a search, from their range.

    `OddsScale` if all are shares to maximize, or cosines of both signs: `val/cosine` may begin below 0, and a
    forecast must not exceed 1. Minimizing x equals maximizing -x here too.
    """
    scores = objectives if mode == "max" else -objectives
    if scores.min() >= 0 and scores.max() <= 1:
        return OddsScale(mode)
    if scores.min() >= -1 and 0 < scores.max() <= 1:
        return OddsScale(mode, least=-1.0)
    return PlainScale(mode, objectives)
