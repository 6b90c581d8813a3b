"""Dimensions of a search space as Optuna's distributions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange


@cache
def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Optuna's distribution of a dimension, the same object at each call."""
    match dimension:
        case Choice(choices=choices):
            return CategoricalDistribution(choices)
        case IntRange(low=low, high=high, log=log, step=step):
            return IntDistribution(low, high, log=log, step=step)
        case FloatRange(low=low, high=high, log=log):
            return FloatDistribution(low, high, log=log)


def distributions_of(dimensions: Mapping[str, Dimension]) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the dimensions of a space, by setting."""
    return {name: distribution_of(dimension) for name, dimension in dimensions.items()}
