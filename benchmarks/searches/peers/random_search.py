"""Random search without stopping, with NumPy alone."""

from __future__ import annotations

from itertools import count

import numpy as np

from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.replay import Job, Method
from tune.space.cube import decode
from tune.space.search_space import Space


class RandomSearch(Method):
    """Uniform draws, each trained to its end.

    Args:
        space: The search space.
        seed: Seed of the draws.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._dimensions = space.dimensions
        self._random = np.random.default_rng(seed)
        self._numbers = count()

    def ask(self) -> Job:
        """The next draw."""
        params = {name: decode(d, float(self._random.random())) for name, d in self._dimensions.items()}
        return Job(next(self._numbers), params)

    def report(self, trial: int, pairs: int, value: float, *, is_last: bool) -> bool:  # noqa: ARG002
        """Every training continues."""
        return True


def random_search(space: Space, seed: int, facts: Facts) -> Method:  # noqa: ARG001
    """Random search without stopping."""
    return RandomSearch(space, seed)
