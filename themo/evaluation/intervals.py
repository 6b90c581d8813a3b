"""Confidence intervals: Wilson's of a share, Tango's of a difference of shares on the same queries.

Shape suffix: Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

Z_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution: two-sided 95 %."""


class Interval(NamedTuple):
    """A two-sided 95 % interval."""

    low: float
    high: float


def wilson_interval(n_hits: int, n: int) -> Interval:
    """Return the 95 % interval of a share by Wilson's score method.

    Unlike the normal approximation it stays inside [0, 1] and is meaningful at 0 and at n hits, as for the
    miniature's R@10. Wilson (1927), "Probable inference, the law of succession, and statistical inference",
    with p = n_hits / n and z = 1.96.

    Raises:
        ValueError: Unless 0 <= n_hits <= n and n >= 1.
    """
    if not (n >= 1 and 0 <= n_hits <= n):
        raise ValueError(f"`0 <= n_hits <= n` and `n >= 1` must hold, got n_hits={n_hits}, n={n}")
    p = n_hits / n
    scale = 1 + Z_95**2 / n
    centre = (p + Z_95**2 / (2 * n)) / scale
    half = Z_95 / scale * math.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n**2))
    # At the ends the formula gives exactly 0 or 1, rounding apart.
    low = 0.0 if n_hits == 0 else centre - half
    high = 1.0 if n_hits == n else centre + half
    return Interval(low, high)


class Difference(NamedTuple):
    """Difference of the first share minus the second, with its 95 % interval."""

    difference: float
    low: float
    high: float


def paired_difference(first_Q: torch.Tensor, second_Q: torch.Tensor) -> Difference:
    """Compare two models on the same queries: the difference of their shares, with its 95 % interval.

    Both models find the same captions hard, so the paired interval is narrower than the two Wilson intervals
    suggest. It covers the choice of test queries, not the seed of training.

    Args:
        first_Q: (Q,) bool hits of one model.
        second_Q: (Q,) bool hits of the other, same queries in the same order.

    Returns:
        share(first) - share(second), and `tango_interval`.

    Raises:
        ValueError: If the two are not vectors of the same length, at least 1.
    """
    only_first, only_second, n = _discordant(first_Q, second_Q)
    return Difference((only_first - only_second) / n, *tango_interval(only_first, only_second, n))


def tango_interval(only_first: int, only_second: int, n: int) -> Interval:
    """Return the 95 % interval of a difference of paired shares by Tango's score method.

    The interval holds all differences that the score test does not reject, as Wilson's does for one share. It
    stays inside [-1, 1] and, unlike a bootstrap's, has a width if no query differs. Tango (1998),
    "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17, 891-908, with b = only_first, c = only_second and z = 1.96; the limits are
    found by bisection.

    Args:
        only_first: Queries that only the first model has right.
        only_second: Queries that only the second model has right.
        n: All queries.

    Raises:
        ValueError: Unless both are at least 0 and together at most n, and n is at least 1.
    """
    if not (n >= 1 and only_first >= 0 and only_second >= 0 and only_first + only_second <= n):
        raise ValueError(
            f"`only_first + only_second <= n` and `n >= 1` must hold, none below 0, "
            f"got only_first={only_first}, only_second={only_second}, n={n}"
        )
    difference = (only_first - only_second) / n

    def is_rejected(delta: float) -> bool:
        return _squared_score(only_first, only_second, n, delta) > Z_95**2

    return Interval(_limit(is_rejected, difference, -1.0), _limit(is_rejected, difference, 1.0))


def _squared_score(only_first: int, only_second: int, n: int, delta: float) -> float:
    """Return Tango's squared statistic for a true difference `delta` strictly between -1 and 1."""
    # The share of queries that only the second has right, by maximum likelihood under `delta`, solves
    # a q^2 + b q + c = 0. The larger root as 2 c / (-b - root) where b > 0: no digits are lost.
    a = 2 * n
    b = (2 * n - only_first + only_second) * delta - only_first - only_second
    c = -only_second * delta * (1 - delta)
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    q = (root - b) / (2 * a) if b <= 0 else -2 * c / (b + root)
    variance = n * (2 * q + delta * (1 - delta))
    distance = only_first - only_second - n * delta
    if variance <= 0:
        return math.inf if distance else 0.0
    return distance**2 / variance


def _limit(is_rejected: Callable[[float], bool], inside: float, end: float) -> float:
    """Bisect between a difference that is not rejected and an end of [-1, 1], which the limit may reach."""
    outside = end
    while True:
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            return middle
        if is_rejected(middle):
            outside = middle
        else:
            inside = middle


def lead_above_zero(first_Q: torch.Tensor, second_Q: torch.Tensor) -> float | None:
    """Return the least lead at which the interval of `paired_difference` lies above 0.

    At a difference of 0 Tango's statistic is McNemar's, (b - c) / sqrt(b + c): the needed lead depends only
    on the number of queries that differ. It needs at least 4, since with 3 it cannot pass 1.96.

    Args:
        first_Q: As in `paired_difference`.
        second_Q: As in `paired_difference`.

    Returns:
        The lead, as a difference of shares, for these models' number of differing queries; None for fewer
        than 4 queries.
    """
    only_first, only_second, n = _discordant(first_Q, second_Q)
    n_differing = only_first + only_second
    lead = max(4, math.floor(Z_95 * math.sqrt(n_differing)) + 1)
    lead += (lead - n_differing) % 2 if n_differing >= 4 else 0  # a lead is even where an even number differs
    return lead / n if lead <= n else None


def _discordant(first_Q: torch.Tensor, second_Q: torch.Tensor) -> tuple[int, int, int]:
    """Count the queries that only the first model has right, those of the second, and all."""
    if first_Q.ndim != 1 or first_Q.shape != second_Q.shape or not first_Q.numel():
        raise ValueError(
            f"hits must be two vectors of the same length, at least 1, "
            f"got {tuple(first_Q.shape)} and {tuple(second_Q.shape)}"
        )
    return int((first_Q & ~second_Q).sum()), int((second_Q & ~first_Q).sum()), first_Q.numel()
