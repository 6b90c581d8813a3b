"""Scales of the objective's axis: even steps, the distance from 1, or a logarithm.

Good students differ by thousandths: on an axis from 0 to 1, 0.988 and 0.992 are one point. A scale of the
distance from 1 gives each halving of the errors the same length, so that both ends of the axis stay legible.
The reader of a page chooses the scale; the script of the page computes the same positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tune.study.trial_record import Mode

Name = Literal["even", "distance", "log"]

LABELS: dict[Name, str] = {"even": "even steps", "distance": "distance from 1", "log": "logarithmic"}
"""Names of the scales for readers."""

GOOD_SHARE = 0.9
"""A share from which its distance from 1 says more than the share itself."""

_MARGIN = 0.04
_MOST_NINES = 8
"""Decades of the distance from 1 with ticks: enough for shares of ten million queries."""


@dataclass(frozen=True)
class Tick:
    """A labelled value: its position on the axis and its text."""

    position: float
    text: str


@dataclass(frozen=True)
class Scale:
    """A scale of the objective.

    Attributes:
        name: ``even``: the value itself. ``distance``: minus log10 of the distance from 1. ``log``: log10.
        low, high: Positions of the axis' ends, with a margin.
        least: The least distance from 1, or value, that has a position of its own: smaller ones share it.
        ticks: Labelled values; empty: the figure chooses.
    """

    name: Name
    low: float
    high: float
    least: float = 0.0
    ticks: tuple[Tick, ...] = ()

    @property
    def label(self) -> str:
        """Name for readers."""
        return LABELS[self.name]

    def position(self, value: float) -> float:
        """Position of a value on the axis."""
        match self.name:
            case "even":
                return value
            case "distance":
                return -math.log10(max(1 - value, self.least))
            case "log":
                return math.log10(max(value, self.least))

    def to_json(self) -> dict[str, Any]:
        """The scale for the script of a page."""
        return asdict(self) | {"label": self.label}


def scales_of(values: Sequence[float], mode: Mode) -> tuple[Scale, ...]:
    """The scales that fit some values of an objective, the one to begin with first.

    Shares have the distance from 1, if two of its ticks lie among them, and begin with it if one is at least
    `GOOD_SHARE`. Values above 0 of a minimized objective have the logarithm, and begin with it if they differ
    by a factor of 10.

    Args:
        values: Finite values, at least one.
        mode: Whether the objective is maximized or minimized.
    """
    low, high = min(values), max(values)
    even = _scale("even", low, high)
    if mode == "max" and high <= 1 and low >= -1:
        distance = _distance(values)
        if len(distance.ticks) < 2:  # all shares are alike, or far from 1
            return (even,)
        return (distance, even) if high >= GOOD_SHARE else (even, distance)
    if mode == "min" and low > 0:
        log = _scale("log", low, high, least=low)
        return (log, even) if high > 10 * low else (even, log)
    return (even,)


def _distance(values: Sequence[float]) -> Scale:
    """The scale of the distance from 1; the value 1 itself is drawn at half the least other distance."""
    distances = [1 - value for value in values if value < 1]
    least = min(distances, default=1e-3)
    is_reached = len(distances) < len(values)
    return _scale("distance", min(values), max(values), least=least / 2 if is_reached else least)


def _scale(name: Name, low: float, high: float, least: float = 0.0) -> Scale:
    bare = Scale(name, low, high, least)
    bottom, top = bare.position(low), bare.position(high)
    margin = _MARGIN * (top - bottom) or 0.05
    ends = bottom - margin, top + margin
    whole = Scale(name, low, high, least=1e-12)  # marks have their own positions, however near to the end
    ticks = [Tick(whole.position(value), f"{value:.6g}") for value in _marks(name, low, high)]
    if name == "distance" and high == 1:
        ticks.append(Tick(top, "1"))
    return Scale(name, *ends, least, tuple(t for t in ticks if ends[0] <= t.position <= ends[1]))


def _marks(name: Name, low: float, high: float) -> list[float]:
    """Round values: 1, 2 and 5 times the powers of ten, as values or distances from 1; none of even steps."""
    match name:
        case "even":
            return []
        case "log":
            powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
            return [step * 10.0**power for power in powers for step in (1, 2, 5)]
        case "distance":
            return [1 - step * 10.0**-power for power in range(_MOST_NINES) for step in (2.0, 1.0, 0.5)][1:]
