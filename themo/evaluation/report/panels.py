"""Panels of a figure: small plots beside each other, as many in a row as the page is wide.

The figure names its panels in the layout's ``meta``; the script of the page places them, since only it knows
the width of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Panel:
    """A small plot.

    Attributes:
        title: Title above the plot.
        height: Height of the plot in pixels, without ticks and title.
    """

    title: str
    height: int


@dataclass(frozen=True)
class Grid:
    """Panels and their places.

    Attributes:
        panels: The panels in order.
        columns: Largest number of panels in a row.
        least: Least width of a panel in pixels; a narrower page has fewer in a row.
        gap: Pixels between two panels of a row, for the labels of the right one's vertical axis.
        left: Pixels left of the first panel, for its labels.
        between: Pixels between two rows, for ticks and titles.
        shared: Whether all panels have one vertical axis, labelled at the first of a row.
        below: Whether the last panel of a column has a title of its horizontal axis.
    """

    panels: Sequence[Panel]
    columns: int
    least: int
    gap: int
    left: int = 60
    between: int = 66
    shared: bool = False
    below: bool = False

    def to_meta(self) -> dict[str, Any]:
        """The grid for the layout's ``meta``."""
        return asdict(self)


def trace_axes(i: int) -> dict[str, str]:
    """The axes of the traces of panel `i`, from 0: ``{"xaxis": "x2", "yaxis": "y2"}``."""
    return {"xaxis": _name("x", i), "yaxis": _name("y", i)}


def layout_axes(i: int, x: dict[str, Any], y: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The layout of the axes of panel `i`, from 0."""
    number = "" if i == 0 else str(i + 1)
    return {
        f"xaxis{number}": {"anchor": _name("y", i), **x},
        f"yaxis{number}": {"anchor": _name("x", i), **y},
    }


def _name(letter: str, i: int) -> str:
    return letter if i == 0 else f"{letter}{i + 1}"
