"""Converts the dimensions of a search space between the file's rules and Optuna's distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from themo.errors import InputError

Scalar = bool | int | float | str | None
"""A value of a searched setting."""

_KINDS = ("uniform", "log_uniform", "integer", "log_integer", "choice")


def read_rule(rule: object, where: str) -> BaseDistribution:
    """The distribution of a rule in the file, such as ``{log_uniform: [1e-5, 1e-3]}``.

    Raises:
        InputError: The rule is invalid; the message starts with `where`.
    """
    kinds = [key for key in rule if key in _KINDS] if isinstance(rule, Mapping) else []
    if not isinstance(rule, Mapping) or len(kinds) != 1:
        raise InputError(f"{where}: must be a mapping with one of {', '.join(_KINDS)}, got {rule!r}")
    kind, values = kinds[0], rule[kinds[0]]
    allowed = {kind, "step"} if kind == "integer" else {kind}
    if extra := set(rule) - allowed:
        raise InputError(f"{where}: {kind} does not take {', '.join(sorted(map(str, extra)))}, got {rule!r}")
    if kind == "choice":
        return _choice(values, where)
    if not isinstance(values, list) or len(values) != 2 or not all(map(_is_number, values)):
        raise InputError(f"{where}: {kind} must be two numbers [low, high], got {values!r}")
    low, high = values
    if not low < high:
        raise InputError(f"{where}: `low < high` must hold, got low={low}, high={high}")
    if kind.startswith("log") and low <= 0:
        raise InputError(f"{where}: `low > 0` must hold in {kind}, got low={low}")
    if not kind.endswith("integer"):
        return FloatDistribution(low, high, log=kind == "log_uniform")
    step = rule.get("step", 1)
    for label, value in (("low", low), ("high", high), ("step", step)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{where}: {label} must be a whole number, got {value!r}")
    if step < 1 or (high - low) % step:
        raise InputError(
            f"{where}: high must be whole steps above low, got low={low}, high={high}, step={step}"
        )
    return IntDistribution(low, high, log=kind == "log_integer", step=step)


def _choice(values: object, where: str) -> CategoricalDistribution:
    if not isinstance(values, list) or not values:
        raise InputError(f"{where}: choice must be a list with at least one value, got {values!r}")
    for value in values:
        if not isinstance(value, bool | int | float | str | None):
            raise InputError(f"{where}: a choice must be a string, number, bool or null, got {value!r}")
    if len({(type(value), value) for value in values}) < len(values):
        raise InputError(f"{where}: choices must be unique, got {values!r}")
    return CategoricalDistribution(values)


def contains(distribution: BaseDistribution, value: object) -> bool:
    """Whether a dimension contains a value; a float dimension accepts integers too, none accepts NaN."""
    match distribution:
        case CategoricalDistribution():
            return any(type(choice) is type(value) and choice == value for choice in distribution.choices)
        case IntDistribution(low=low, high=high, step=step):
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and low <= value <= high and (value - low) % step == 0  # type: ignore[operator]
        case FloatDistribution(low=low, high=high):
            return _is_number(value) and low <= value <= high  # type: ignore[operator]
        case _:
            raise TypeError(f"no dimension of a search space: {distribution!r}")


def rule_of(distribution: BaseDistribution) -> dict[str, Any]:
    """The rule of a dimension, inverse to `read_rule`."""
    match distribution:
        case CategoricalDistribution():
            return {"choice": list(distribution.choices)}
        case IntDistribution(low=low, high=high, log=True):
            return {"log_integer": [low, high]}
        case IntDistribution(low=low, high=high, step=step):
            return {"integer": [low, high]} | ({"step": step} if step != 1 else {})
        case FloatDistribution(low=low, high=high, log=log):
            return {"log_uniform" if log else "uniform": [low, high]}
        case _:
            raise TypeError(f"no dimension of a search space: {distribution!r}")


def ends_of(distribution: BaseDistribution) -> list[Scalar]:
    """The lowest and the highest value of a range, or all values of a choice."""
    match distribution:
        case CategoricalDistribution():
            return choices_of(distribution)
        case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
            return [low, high]
        case _:
            raise TypeError(f"no dimension of a search space: {distribution!r}")


def choices_of(distribution: BaseDistribution) -> list[Scalar]:
    """All values of a choice.

    Raises:
        TypeError: The dimension is a range.
    """
    if not isinstance(distribution, CategoricalDistribution):
        raise TypeError(f"has no finite choices: {distribution!r}")
    return list(distribution.choices)


def n_values(distribution: BaseDistribution) -> float:
    """Number of values of a dimension; infinity for a range of real numbers."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return len(choices)
        case IntDistribution(low=low, high=high, step=step):
            return (high - low) // step + 1
        case FloatDistribution():
            return math.inf
        case _:
            raise TypeError(f"no dimension of a search space: {distribution!r}")


def value_at(distribution: BaseDistribution, place: int) -> Scalar:
    """The value of a finite dimension at an index from 0."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return choices[place]
        case IntDistribution(low=low, step=step):
            return low + step * place
        case _:
            raise TypeError(f"has no finite number of values: {distribution!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
