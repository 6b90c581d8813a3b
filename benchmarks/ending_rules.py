"""Rules that estimate the chance of a further gain: the shipped rule and its alternatives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from scipy.special import betaln

from tune.study.remaining_gain import chance_of_gain

SHIPPED = "shipped"
_LEAST_BEST = 8
_SHAPES = np.linspace(-0.9, 0.9, 19)[:, None]
_SHAPE_DEVIATION = 0.3
_SCALES = np.geomspace(0.05, 20.0, 40)


class Rule(Protocol):
    """Estimates the chance that the remaining trials gain more than an amount."""

    def __call__(self, losses: Sequence[float], n_left: int, gain: float, *, is_learning: bool) -> float:
        """The chance; arguments are those of `tune.study.remaining_gain.chance_of_gain`."""


def without_learning(losses: Sequence[float], n_left: int, gain: float, *, is_learning: bool) -> float:  # noqa: ARG001
    """The shipped rule as if every searcher proposed at random."""
    return chance_of_gain(losses, n_left, gain, is_learning=False)


def order_alone(losses: Sequence[float], n_left: int, gain: float, *, is_learning: bool) -> float:  # noqa: ARG001
    """The chance that the best of all trials is a remaining one, if their order is random."""
    return n_left / (len(losses) + n_left)


def near_the_best(losses: Sequence[float], n_left: int, gain: float, *, is_learning: bool) -> float:  # noqa: ARG001
    """The chance that all trials within the amount of the best one are remaining ones, in random order."""
    n_near = sum(loss <= min(losses) + gain for loss in losses)
    return float(order_alone(losses, n_left, gain, is_learning=False) ** n_near)


def recent_gains(losses: Sequence[float], n_left: int, gain: float, *, is_learning: bool) -> float:  # noqa: ARG001
    """The chance of a success among the remaining trials, if successes are improvements above the amount.

    They are counted over the latter half of the known trials, with Jeffreys' prior of a share.
    """
    bests = np.minimum.accumulate(losses)
    half = len(losses) // 2
    n_gained = sum(losses[i] < bests[i - 1] - gain for i in range(max(half, 1), len(losses)))
    hits, misses = 0.5 + n_gained, 0.5 + len(losses) - half - n_gained
    return float(1 - math.exp(betaln(hits, misses + n_left) - betaln(hits, misses)))


def pareto_tail(losses: Sequence[float], n_left: int, gain: float, *, is_learning: bool) -> float:
    """The shipped rule with a generalized Pareto distribution in place of the exponential one.

    Shape and scale are integrated out on a grid; the shape is normal around 0 with deviation 0.3.
    """
    weight = len(losses) * (1 / 3 if is_learning else 1.0)
    excess = n_left * _pareto_excess(np.sort(losses), gain, max(_LEAST_BEST, math.ceil(len(losses) / 3)))
    return excess / (weight + excess)


def _pareto_excess(losses: np.ndarray[tuple[int], np.dtype[np.float64]], gain: float, n_best: int) -> float:
    if len(losses) <= n_best or math.isinf(losses[n_best]) or losses[0] == losses[n_best]:
        return 1.0
    leads = losses[n_best] - losses[:n_best]
    shape, scale = np.broadcast_arrays(np.where(_SHAPES == 0, 1e-9, _SHAPES), leads[0] * _SCALES[None, :])

    def log_survival(lead: float | np.floating) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((inner := 1 + shape * lead / scale) > 0, -np.log(inner) / shape, -np.inf)

    likelihood = -n_best * np.log(scale) - shape**2 / (2 * _SHAPE_DEVIATION**2)
    for lead in leads:
        likelihood = likelihood + (1 + shape) * log_survival(lead)
    posterior = np.exp(likelihood - likelihood.max())
    beats, exceeds = (np.sum(posterior * np.exp(log_survival(lead))) for lead in (leads[0], leads[0] + gain))
    return float(exceeds / beats)


RULES: Mapping[str, Rule] = {
    SHIPPED: chance_of_gain,
    "shipped, learners in full": without_learning,
    "order alone": order_alone,
    "near the best": near_the_best,
    "recent gains": recent_gains,
    "Pareto tail": pareto_tail,
}
