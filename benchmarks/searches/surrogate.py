"""Predicts the learning curves of unrecorded settings with a forest fitted to recorded curves.

Extremely randomized trees (Geurts et al., 2006, https://doi.org/10.1007/s10994-006-6226-1), grown until every
leaf holds equal curves, give a recorded setting its recorded curve, and others a mean of recorded ones: the
forest never predicts more than the best recorded value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from benchmarks.searches.curves import Curve
from tune.space.cube import encode
from tune.space.dimensions import Choice, Scalar
from tune.space.search_space import Space

Floats = NDArray[np.float64]


def spread(values: Floats) -> Floats:
    """Scores of 0 to 1 on a scale logarithmic in the error, where 0.98 to 0.99 is as far as 0.8 to 0.9."""
    return -np.log10(1.001 - np.clip(values, 0.0, 1.0))


def unspread(places: Floats) -> Floats:
    """The inverse of `spread`."""
    return 1.001 - 10.0**-places


class Features:
    """Settings as numbers: the position in a range, one number per choice, 0.5 for an inactive dimension."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def of(self, params: dict[str, Scalar]) -> list[float]:
        """The numbers of one setting."""
        numbers: list[float] = []
        params = self._space.active(params)
        for name, dimension in self._space.dimensions.items():
            if name not in params:
                numbers += [0.5] * (len(dimension.choices) if isinstance(dimension, Choice) else 1)
            elif isinstance(dimension, Choice):
                numbers += [float(choice == params[name]) for choice in dimension.choices]
            else:
                numbers.append(encode(dimension, params[name]))
        return numbers


@dataclass(frozen=True)
class Prediction:
    """A predicted curve: the objective at each report interval, and the CPU seconds of the full training."""

    values: Floats
    seconds: float


class Surrogate:
    """A forest over settings that predicts whole curves.

    Args:
        space: The search space.
        curves: Recorded curves with the first seed.
        n_reports: Reports of a full training.
        n_trees: Trees of the forest.
    """

    def __init__(self, space: Space, curves: Sequence[Curve], n_reports: int, n_trees: int = 100) -> None:
        self._features = Features(space)
        inputs = np.array([self._features.of(curve.params) for curve in curves])
        outputs = np.array([_outputs(curve, n_reports) for curve in curves])
        forest = ExtraTreesRegressor(n_trees, random_state=0, n_jobs=1).fit(inputs, outputs)
        self._trees = _Trees(forest)

    def predict(self, params: dict[str, Scalar]) -> Prediction:
        """The curve of one setting."""
        found = self._trees.predict(np.array(self._features.of(params), dtype=np.float32))
        return Prediction(unspread(found[:-1]), float(np.exp(found[-1])))


def _outputs(curve: Curve, n_reports: int) -> Floats:
    """Values at every report, spread, and the logarithm of the seconds; a failed training has 0."""
    values = np.zeros(n_reports)
    values[: len(curve.values)] = curve.values[:n_reports]
    share = len(curve.values) / n_reports
    seconds = curve.seconds[-1] / share if curve.seconds else 1.0
    return np.append(spread(values), np.log(max(seconds, 1e-3)))


class _Trees:
    """All trees in flat arrays: one setting passes all of them at once, 50 times as fast as one by one."""

    def __init__(self, forest: ExtraTreesRegressor) -> None:
        trees = [estimator.tree_ for estimator in forest.estimators_]
        starts = np.cumsum([0] + [tree.node_count for tree in trees])
        self._roots = starts[:-1]
        self._feature = np.concatenate([tree.feature for tree in trees])
        self._threshold = np.concatenate([tree.threshold for tree in trees])
        self._children = np.stack(
            [
                np.concatenate([tree.children_left + s for tree, s in zip(trees, starts, strict=False)]),
                np.concatenate([tree.children_right + s for tree, s in zip(trees, starts, strict=False)]),
            ]
        )
        self._values = np.concatenate([tree.value[:, :, 0] for tree in trees])

    def predict(self, features: NDArray[np.float32]) -> Floats:
        nodes = self._roots
        while True:
            asked = self._feature[nodes]
            inner = asked >= 0
            if not inner.any():
                mean: Floats = self._values[nodes].mean(axis=0)
                return mean
            right = (features[asked] > self._threshold[nodes]).astype(np.intp)
            nodes = np.where(inner, self._children[right, nodes], nodes)
