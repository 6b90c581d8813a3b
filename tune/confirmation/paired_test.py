"""Sequential paired t test for very few seeds: interval of a lead, valid at every look.

Two settings are trained with the same further seeds, and each seed gives the difference of their scores.
After three seeds and after each further one the mean difference is compared with its t interval; the first
look at which the interval excludes 0 ends the test. Repeated looks at one fixed level would claim too much,
so all looks of a test share one stricter level (Pocock, 1977, https://doi.org/10.1093/biomet/64.2.191),
applied to the t statistic (the significance level approach of Jennison and Turnbull, 1999, "Group Sequential
Methods with Applications to Clinical Trials", chapter 4). For so few seeds the level was computed by
simulation, so that at most 5 % of tests claim a false lead, over all looks. The interval at a look is a
repeated confidence interval (the same book, chapter 9): of 90 %, 5 % on each side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev

LEVEL = 0.05
"""Largest false-positive rate of a test, over all its looks."""

COVERAGE = 1 - 2 * LEVEL
"""Coverage of the interval of a lead, over all looks of a test."""

CRITICAL_T: Mapping[int, Mapping[int, float]] = {
    2: {2: 6.32},
    3: {3: 2.92},
    4: {3: 3.75, 4: 2.87},
    5: {3: 4.34, 4: 3.20, 5: 2.79},
    6: {3: 4.78, 4: 3.45, 5: 2.98, 6: 2.74},
}
"""Critical values of t, by the planned number of seeds and by the seeds seen at a look.

Each row has one level for all its looks: 0.05 for a single look, else 0.0322, 0.0246 and 0.0205, the 5 %
quantiles of the smallest p value of 4,000,000 simulated tests (`test_paired_test.py` repeats the simulation
with fewer). The values are rounded up. With one degree of freedom a look is
hardly ever decisive, so that only a test of two seeds looks after two.
"""

MIN_SEEDS, MAX_SEEDS = min(CRITICAL_T), max(CRITICAL_T)


@dataclass(frozen=True)
class Lead:
    """The lead of one setting over another.

    Attributes:
        mean: Mean of the differences over the seeds, above 0 where the first setting is better; None before
            the first seed.
        n_seeds: Number of seeds.
        low, high: Ends of the interval at the last look; None before the first look.
    """

    mean: float | None = None
    n_seeds: int = 0
    low: float | None = None
    high: float | None = None

    @property
    def is_above_chance(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low is not None and self.low > 0

    @property
    def is_below_chance(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.high is not None and self.high < 0

    @property
    def is_separated(self) -> bool:
        """Whether the interval excludes 0."""
        return self.is_above_chance or self.is_below_chance


def lead_after(ours: Sequence[float], theirs: Sequence[float], n_planned: int) -> Lead:
    """Return the lead, with its interval, after some seeds.

    The first look that excludes 0 decides, so later seeds change nothing.

    Args:
        ours: Scores of the first setting, higher is better, one a seed.
        theirs: Scores of the other setting with the same seeds.
        n_planned: Number of seeds planned beforehand, from `MIN_SEEDS` to `MAX_SEEDS`.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    stated = Lead(fmean(differences), len(differences)) if differences else Lead()
    for n, critical in CRITICAL_T[n_planned].items():
        if n <= len(differences):
            stated = _at_look(differences[:n], critical, _resolution([*ours[:n], *theirs[:n]]))
            if stated.is_separated:
                return stated
    return stated


def _at_look(differences: Sequence[float], critical: float, resolution: float) -> Lead:
    """The lead at a look; without an interval if all scores are equal."""
    n, mean = len(differences), fmean(differences)
    if math.isinf(resolution):
        return Lead(mean, n)
    # scores in steps may have equal differences by chance, which do not prove that there is no spread: the
    # variance of the rounding errors of two scores is added; without it, coarse steps claimed up to 5.4 %
    spread = math.hypot(stdev(differences), resolution / math.sqrt(6))
    half = critical * spread / math.sqrt(n)
    return Lead(mean, n, mean - half, mean + half)


def _resolution(scores: Sequence[float]) -> float:
    """The smallest step between different scores; infinity if all scores are equal.

    A share of 1,000 captions moves in steps of 0.001.
    """
    different = sorted(set(scores))
    return min((b - a for a, b in pairwise(different)), default=math.inf)
