"""Axes of a search's figures: positions, ticks and labels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange, Scalar

_LINE = 8
"""Characters of a line of a choice's label, where the choice allows it."""
_MOST_LINES = 3
_WIDE = 1.2
"""Decades from which an axis has powers of ten only: more labels have no room in a narrow panel."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Axis:
    """A searched setting, or the objective, as an axis from 0 to 1.

    Attributes:
        ticks: Values that are labelled.
        low, high: Ends of the axis; their logarithms if the axis is logarithmic.
        is_log: Whether the axis is logarithmic.
        choices: Values of a choice; empty for a range.
    """

    ticks: tuple[Scalar, ...]
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False
    choices: tuple[Scalar, ...] = ()

    @classmethod
    def of(cls, dimension: Dimension) -> Axis:
        """The axis of a dimension of the space."""
        match dimension:
            case Choice(choices=choices):
                return cls(tuple(choices), choices=tuple(choices))
            case IntRange(low=low, high=high, log=log) | FloatRange(low=low, high=high, log=log):
                return cls.between(low, high, log)

    @classmethod
    def between(cls, low: float, high: float, is_log: bool = False) -> Axis:
        """The axis of a range."""
        if not is_log:
            return cls((low, high), low, high)
        inner = [tick for tick in log_ticks(low, high)["tickvals"] if 1.6 * low < tick < high / 1.6]
        return cls((low, *inner, high), math.log(low), math.log(high), is_log=True)

    @property
    def is_choice(self) -> bool:
        """Whether the axis shows named choices instead of numbers."""
        return bool(self.choices)

    def height(self, value: Scalar) -> float:
        """Position of a value on the axis, from 0 to 1."""
        if self.is_choice:
            return 0.5 if len(self.choices) == 1 else self._place(value) / (len(self.choices) - 1)
        number = float(value or 0)
        return ((math.log(number) if self.is_log else number) - self.low) / (self.high - self.low)

    def _place(self, value: Scalar) -> int:
        """Place of a choice; of equal ones such as True and 1 the one of the value's type."""
        equal = [i for i, choice in enumerate(self.choices) if choice == value]
        return next((i for i in equal if type(self.choices[i]) is type(value)), equal[0])


def log_ticks(low: float, high: float) -> dict[str, list[Any]]:
    """Ticks of a logarithmic axis, at least two between its ends: powers of ten if these are enough."""
    ticks = _round_values(low, high)
    return {
        "tickvals": ticks,
        "ticktext": [f"{tick:,.12g}" if tick >= 1000 else f"{tick:.12g}" for tick in ticks],
    }


def _round_values(low: float, high: float) -> list[float]:
    """Powers of ten, 1, 2 and 5 times these, or equal steps: the first of which two lie between the ends."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 2, 5)) if math.log10(high / low) > _WIDE else ((1, 2, 5),):
        ticks = [step * 10.0**power for power in powers for step in steps]
        if sum(low * (1 - _ROUNDING) <= tick <= high * (1 + _ROUNDING) for tick in ticks) >= 2:
            return ticks
    if math.isclose(low, high, rel_tol=_ROUNDING):
        return ticks
    power = math.floor(math.log10(high - low))
    for step in (5, 2, 1, 0.5, 0.2):
        size = step * 10.0**power
        ticks = [
            i * size
            for i in range(math.ceil(low / size - _ROUNDING), math.floor(high / size + _ROUNDING) + 1)
        ]
        if len(ticks) >= 2:
            break
    return ticks


def name_lines(text: str) -> list[str]:
    """The text in one line, or in two if it is long."""
    if len(text) < 10:
        return [text]
    breaks = [
        i + (text[i] in "_/") for i, sign in enumerate(text) if sign in "_/+-" and 0 < i < len(text) - 1
    ]
    if not breaks:
        return [text]
    middle = min(breaks, key=lambda i: abs(i - len(text) / 2))
    return [text[:middle], text[middle:]]


def wrapped(text: str) -> str:
    """A choice for Plotly's axis, in up to three short lines; of more the first and the last are shown."""
    lines = [""]
    for part in re.findall(r".+?(?:[_/*-]|(?=\+)|$)", text):
        if lines[-1] and len(lines[-1] + part) > _LINE:
            lines.append("")
        lines[-1] += part
    shown = lines if len(lines) <= _MOST_LINES else [lines[0], "…", lines[-1]]
    return "<br>".join(shown)
