"""A search space with whole numbers in place of steps and choices, for libraries without either."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange, Scalar, n_values, value_at
from tune.space.search_space import Space


def n_places(dimension: Dimension) -> int:
    """How many values a choice or a linear range of whole numbers has.

    Raises:
        TypeError: The dimension is a range of real numbers, or is logarithmic.
    """
    if isinstance(dimension, FloatRange) or (isinstance(dimension, IntRange) and dimension.log):
        raise TypeError(f"has no places at equal distances: {dimension!r}")
    return int(n_values(dimension))


def params_of(space: Space, config: Mapping[str, Any]) -> dict[str, Scalar]:
    """The settings of a library's proposal: real numbers unchanged, others by their place."""
    return {name: _value(dimension, config[name]) for name, dimension in space.dimensions.items()}


def _value(dimension: Dimension, place: Any) -> Scalar:
    if isinstance(dimension, FloatRange):
        return min(max(float(place), dimension.low), dimension.high)
    return value_at(dimension, int(place))


def config_space(space: Space, seed: int) -> Any:
    """The space in the form of SMAC and HpBandSter; choices and steps are places."""
    import ConfigSpace

    made = ConfigSpace.ConfigurationSpace(seed=seed)
    for name, dimension in space.dimensions.items():
        match dimension:
            case FloatRange(low=low, high=high, log=log):
                made.add(ConfigSpace.Float(name, (low, high), log=log))
            case Choice():
                made.add(ConfigSpace.Categorical(name, list(range(n_places(dimension)))))
            case IntRange():
                made.add(ConfigSpace.Integer(name, (0, n_places(dimension) - 1)))
    return made


def reports_of(budget: float) -> int:
    """Whole reports of a budget, which some libraries state as a fraction."""
    return math.ceil(budget - 1e-9)
