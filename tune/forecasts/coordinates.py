"""Settings as rows of numbers, and their differences, for a Gaussian process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tune.space.conditions import ancestors
from tune.space.cube import decode, encode
from tune.space.dimensions import Choice, Dimension, IntRange, Scalar, contains
from tune.space.search_space import Space

Floats = NDArray[np.float64]

_INACTIVE_CHOICE = -1.0
_INACTIVE_NUMBER = 0.5


class Coordinates:
    """Coordinates of settings: the index of a choice, or the place within a range, from 0 to 1.

    An inactive setting has an index of its own, or the middle of its range.

    Args:
        space: The search space.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._dimensions = list(space.dimensions.items())
        self._is_choice = np.array([isinstance(dimension, Choice) for _, dimension in self._dimensions])
        self._rows: dict[tuple[tuple[str, type, Scalar], ...], Floats] = {}

    @property
    def n(self) -> int:
        """Number of coordinates, one a dimension."""
        return len(self._dimensions)

    def of(self, params: Mapping[str, Scalar]) -> Floats:
        """Coordinates of one setting, float64 of shape (n,); a value outside the space is an inactive one.

        Results are cached: every decision needs the coordinates of all trials.
        """
        key = tuple((name, type(value), value) for name, value in params.items())  # True == 1 == 1.0
        if key not in self._rows:
            known = self._known(params)
            self._rows[key] = np.array(
                [
                    _coordinate(d, known[name]) if name in known else _inactive(d)
                    for name, d in self._dimensions
                ]
            )
        return self._rows[key]

    def of_places(self, places: Floats) -> Floats:
        """Coordinates of points of the unit cube (`tune.space.cube`).

        Args:
            places: float64 of shape (points, n), each from 0 to 1.
        """
        columns = [_column(d, places[:, i]) for i, (_, d) in enumerate(self._dimensions)]
        for i, (name, dimension) in enumerate(self._dimensions):
            if name in self._space.conditions:
                columns[i] = np.where(self._are_active(name, places), columns[i], _inactive(dimension))
        return np.stack(columns, axis=1)

    def _are_active(self, name: str, places: Floats) -> NDArray[np.bool_]:
        known = ancestors(name, self._space.conditions)
        parents = [i for i, (other, _) in enumerate(self._dimensions) if other in known]
        rows = (
            {self._dimensions[i][0]: decode(self._dimensions[i][1], row[i]) for i in parents}
            for row in places
        )
        return np.array([self._space.is_active(name, row) for row in rows])

    def params(self, places: Floats) -> dict[str, Scalar]:
        """The active settings at one point of the unit cube."""
        drawn = {
            name: decode(d, float(place)) for (name, d), place in zip(self._dimensions, places, strict=True)
        }
        return self._space.active(drawn)

    def places(self, params: Mapping[str, Scalar]) -> Floats:
        """A point of the unit cube with these settings; the middle where one is inactive or outside."""
        known = self._known(params)
        return np.array([encode(d, known[name]) if name in known else 0.5 for name, d in self._dimensions])

    def _known(self, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The active settings within their dimensions; trusted or carried ones may lie outside."""
        dimensions = self._space.dimensions
        return {n: value for n, value in self._space.active(params).items() if contains(dimensions[n], value)}

    def squared_differences(self, a: Floats, b: Floats) -> Floats:
        """Squared differences of each coordinate, row by row, float64 of shape (n, rows).

        Different choices have a difference of 1.

        Args:
            a: Coordinates, float64 of shape (rows, n).
            b: Coordinates, float64 of shape (rows, n).
        """
        return np.stack([self._squared(i, a[:, i] - b[:, i]) for i in range(self.n)])

    def squared_distances(self, a: Floats, b: Floats, weights: Floats) -> Floats:
        """The weighted sum of the squared differences of all rows, float64 of shape (len(a), len(b)).

        Computed as a matrix product, with rounding errors below 1e-12.

        Args:
            a: Coordinates, float64 of shape (len(a), n).
            b: Coordinates, float64 of shape (len(b), n).
            weights: One a coordinate, float64 of shape (n,).
        """
        a, b = self._points(a, weights), self._points(b, weights)
        found: Floats = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * (a @ b.T)
        return np.maximum(found, 0.0)

    def _points(self, rows: Floats, weights: Floats) -> Floats:
        """Points whose squared Euclidean distances are the weighted sums; a choice has one axis per index."""
        axes = [rows[:, ~self._is_choice] * np.sqrt(weights[~self._is_choice])]
        for i, (_, dimension) in enumerate(self._dimensions):
            if isinstance(dimension, Choice):
                indices = np.array([_INACTIVE_CHOICE, *range(len(dimension.choices))])
                axes.append((rows[:, i, None] == indices) * math.sqrt(weights[i] / 2))
        return np.concatenate(axes, axis=1)

    def _squared(self, i: int, differences: Floats) -> Floats:
        return (differences != 0).astype(np.float64) if self._is_choice[i] else differences**2


def stack(rows: Sequence[Floats], n: int) -> Floats:
    """Rows of coordinates as one array of shape (len(rows), n)."""
    return np.array(rows, dtype=np.float64).reshape(len(rows), n)


def _coordinate(dimension: Dimension, value: Scalar) -> float:
    if isinstance(dimension, Choice):
        return float(
            next(i for i, c in enumerate(dimension.choices) if type(c) is type(value) and c == value)
        )
    return encode(dimension, value)


def _inactive(dimension: Dimension) -> float:
    return _INACTIVE_CHOICE if isinstance(dimension, Choice) else _INACTIVE_NUMBER


def _column(dimension: Dimension, places: Floats) -> Floats:
    """Coordinates of one dimension."""
    match dimension:
        case Choice(choices=choices):
            return _parts(places, len(choices))
        case IntRange(low=low, high=high, step=step, log=False):
            n = (high - low) // step + 1
            return (_parts(places, n) + 0.5) / n
        case IntRange():  # on a logarithmic scale values are not equally far apart
            return np.array([encode(dimension, decode(dimension, float(place))) for place in places])
        case _:
            return places


def _parts(places: Floats, n: int) -> Floats:
    """The interval of each place, from 0, as `tune.space.cube.decode` finds it for one place."""
    parts: Floats = np.minimum(np.floor(places * n), n - 1)
    return parts
