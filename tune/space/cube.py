"""Maps a search space to the unit cube, for searchers over numbers.

Each setting becomes a number from 0 to 1: the position within a range (on a logarithmic scale for a
logarithmic range), or, for whole numbers and choices, within as many equal intervals as there are values.
"""

from __future__ import annotations

import math

from tune.space.dimensions import (
    Choice,
    Dimension,
    FloatRange,
    IntRange,
    Scalar,
)


def decode(dimension: Dimension, place: float) -> Scalar:
    """The value at a place of a dimension, from 0 to 1."""
    match dimension:
        case Choice(choices=choices):
            return choices[_part(place, len(choices))]
        case IntRange(low=low, high=high, step=step, log=False):
            return low + step * _part(place, (high - low) // step + 1)
        case IntRange(low=low, high=high):
            value = round(_exp_between(low - 0.5, high + 0.5, place))
            return min(max(value, low), high)
        case FloatRange(low=low, high=high, log=log):
            number = _exp_between(low, high, place) if log else low + place * (high - low)
            return min(max(number, low), high)


def encode(dimension: Dimension, value: Scalar) -> float:
    """A place that `decode` maps to the value; for an integer or a choice, the middle of its interval."""
    match dimension:
        case Choice(choices=choices):
            places = [
                i for i, choice in enumerate(choices) if type(choice) is type(value) and choice == value
            ]
            return (places[0] + 0.5) / len(choices)
        case IntRange(low=low, high=high, step=step, log=False):
            return ((_number(value) - low) // step + 0.5) / ((high - low) // step + 1)
        case IntRange(low=low, high=high):
            return _log_place(low - 0.5, high + 0.5, _number(value))
        case FloatRange(low=low, high=high, log=log):
            return _log_place(low, high, _number(value)) if log else (_number(value) - low) / (high - low)


def _part(place: float, n_parts: int) -> int:
    return min(int(place * n_parts), n_parts - 1)


def _exp_between(low: float, high: float, place: float) -> float:
    return math.exp(math.log(low) + place * math.log(high / low))


def _log_place(low: float, high: float, value: float) -> float:
    return math.log(value / low) / math.log(high / low)


def _number(value: Scalar) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"no number: {value!r}")
    return value
