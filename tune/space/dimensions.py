"""Dimensions of a search space: read from the file's rules, and written back.

They are plain values: a command that checks or shows a search does not import Optuna, whose distributions
`tune.searchers.distributions` builds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from themo.errors import InputError

Scalar = bool | int | float | str | None
"""A value of a searched setting."""


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from `low` to `high`, on a logarithmic scale with `log`."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high` in steps of `step`, on a logarithmic scale with `log`."""

    low: int
    high: int
    log: bool = False
    step: int = 1


@dataclass(frozen=True, init=False, eq=False)
class Choice:
    """Unordered values; two choices are equal only if their values also have equal types."""

    choices: tuple[Scalar, ...]

    def __init__(self, choices: Sequence[Scalar]) -> None:
        object.__setattr__(self, "choices", tuple(choices))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and self._typed() == other._typed()

    def __hash__(self) -> int:
        return hash(self._typed())

    def _typed(self) -> tuple[tuple[type, Scalar], ...]:
        return tuple((type(choice), choice) for choice in self.choices)  # else True equals 1


Dimension = FloatRange | IntRange | Choice

_KINDS = ("uniform", "log_uniform", "integer", "log_integer", "choice")


def read_rule(rule: object, where: str) -> Dimension:
    """Read a dimension from its rule, such as ``{log_uniform: [1e-5, 1e-3]}``.

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
        return FloatRange(low, high, log=kind == "log_uniform")
    step = rule.get("step", 1)
    for label, value in (("low", low), ("high", high), ("step", step)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{where}: {label} must be a whole number, got {value!r}")
    if step < 1 or (high - low) % step:
        raise InputError(
            f"{where}: high must be whole steps above low, got low={low}, high={high}, step={step}"
        )
    return IntRange(low, high, log=kind == "log_integer", step=step)


def _choice(values: object, where: str) -> Choice:
    if not isinstance(values, list) or not values:
        raise InputError(f"{where}: choice must be a list with at least one value, got {values!r}")
    for value in values:
        if not isinstance(value, bool | int | float | str | None):
            raise InputError(f"{where}: a choice must be a string, number, bool or null, got {value!r}")
    if len({(type(value), value) for value in values}) < len(values):
        raise InputError(f"{where}: choices must be unique, got {values!r}")
    return Choice(values)


def contains(dimension: Dimension, value: object) -> bool:
    """Whether a dimension can take the value; a float dimension takes integers too, none takes NaN."""
    match dimension:
        case Choice():
            return any(type(choice) is type(value) and choice == value for choice in dimension.choices)
        case IntRange(low=low, high=high, step=step):
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and low <= value <= high and (value - low) % step == 0  # type: ignore[operator]
        case FloatRange(low=low, high=high):
            return _is_number(value) and low <= value <= high  # type: ignore[operator]


def rule_of(dimension: Dimension) -> dict[str, Any]:
    """The rule of a dimension, the inverse of `read_rule`."""
    match dimension:
        case Choice():
            return {"choice": list(dimension.choices)}
        case IntRange(low=low, high=high, log=True):
            return {"log_integer": [low, high]}
        case IntRange(low=low, high=high, step=step):
            return {"integer": [low, high]} | ({"step": step} if step != 1 else {})
        case FloatRange(low=low, high=high, log=log):
            return {"log_uniform" if log else "uniform": [low, high]}


def ends_of(dimension: Dimension) -> list[Scalar]:
    """Lowest and highest value of a range, or all choices."""
    match dimension:
        case Choice():
            return choices_of(dimension)
        case IntRange(low=low, high=high) | FloatRange(low=low, high=high):
            return [low, high]


def choices_of(dimension: Dimension) -> list[Scalar]:
    """All values of a choice.

    Raises:
        TypeError: The dimension is a range.
    """
    if not isinstance(dimension, Choice):
        raise TypeError(f"has no finite choices: {dimension!r}")
    return list(dimension.choices)


def n_values(dimension: Dimension) -> float:
    """Number of values of a dimension; infinity for a range of real numbers."""
    match dimension:
        case Choice(choices=choices):
            return len(choices)
        case IntRange(low=low, high=high, step=step):
            return (high - low) // step + 1
        case FloatRange():
            return math.inf


def value_at(dimension: Dimension, place: int) -> Scalar:
    """A value of a finite dimension by its place, counted from 0."""
    match dimension:
        case Choice(choices=choices):
            return choices[place]
        case IntRange(low=low, step=step):
            return low + step * place
        case _:
            raise TypeError(f"has no finite number of values: {dimension!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
