"""Points of a scrambled Sobol sequence, in which the values of finite settings take turns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from tune.space.cube import decode
from tune.space.dimensions import Dimension, FloatRange, IntRange, Scalar, n_values
from tune.space.search_space import Space

_POINTS = 256
"""Number of further points, after which a caller stops looking for untried settings."""

_MOST_VALUES = 256
"""Maximum number of values that take turns; a search of fewer trials cannot show all of more."""


def points(space: Space, n_before: int, salt: tuple[int, ...] = ()) -> Iterator[dict[str, Scalar]]:
    """Settings of the sequence from number `n_before` on, of all dimensions, inactive ones too.

    The sequence depends on seed, salt (`Study.salt`) and dimensions alone, so a longer search begins with the
    points of a shorter one.

    The values of a choice, or of a range of whole numbers, take turns: of N values each comes once in points
    0 to N - 1, once in points N to 2 N - 1, and so on. The rank of a point's coordinate within its N points
    gives the value, as in Latin hypercube sampling (McKay et al., 1979). If N is a power of 2, this is the
    value at the coordinate itself: aligned blocks of N Sobol points (Sobol, 1967) hold one in each N-th. For
    other N coordinates alone may leave values out of 2 N points: one of 15 for 1 to 7 of 40 seeds.

    Ranges of real numbers, logarithmic ranges, and settings of more than 256 values follow the coordinate.
    """
    n_points = n_before + _POINTS
    seed = [space.search.seed, *salt] if salt else space.search.seed
    sequence = qmc.Sobol(len(space.dimensions), rng=np.random.default_rng(seed))
    places = sequence.random_base2((n_points + _MOST_VALUES - 1).bit_length())
    for column, dimension in enumerate(space.dimensions.values()):
        if _is_stratified(dimension):
            places[:, column] = _stratified(places[:, column], int(n_values(dimension)))
    for point in places[n_before:n_points]:
        yield {n: decode(d, float(p)) for (n, d), p in zip(space.dimensions.items(), point, strict=True)}


def _is_stratified(dimension: Dimension) -> bool:
    """Whether the values of a dimension are equally likely, and few."""
    is_logarithmic = isinstance(dimension, FloatRange | IntRange) and dimension.log
    return not is_logarithmic and n_values(dimension) <= _MOST_VALUES


def _stratified(places: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Places of which each block of `n` holds the middle of each n-th once; an incomplete block stays."""
    n_whole = len(places) // n * n
    ranks = places[:n_whole].reshape(-1, n).argsort(axis=1).argsort(axis=1)
    return np.concatenate([(ranks.ravel() + 0.5) / n, places[n_whole:]])
