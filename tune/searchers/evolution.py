"""CMA-ES as a pure function of the seed and of the trials so far.

Hansen, 2016, https://arxiv.org/abs/1604.00772: a normal distribution over the numeric settings moves towards
the better half of each generation. Optuna's sampler keeps its distribution pickled in the trials. Here all
generations are replayed for each proposal, which takes milliseconds and always agrees with the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from cmaes import CMA

from tune.space.cube import decode, encode
from tune.space.dimensions import Choice, Dimension, Scalar, contains
from tune.space.search_space import Space
from tune.study.study import Study

_WIDTH = 1 / 6
"""Standard deviation of the first generation as a share of each setting's range; Optuna's default too."""


def sample(space: Space, study: Study, scores: Mapping[int, float], seed: int) -> dict[str, Scalar]:
    """Numeric settings of the next trial; choices have no order and are not sampled.

    The first generation lies around the best of the `startup_trials` and the carried trials. Later trials
    with a score form generations in the order of proposal; with several slots, some of them were proposed by
    an earlier distribution than the one that they update. An inactive setting counts with the mean of its
    distribution, which leaves the mean unchanged.

    Args:
        space: The search space; its first `startup_trials` trials were proposed at random.
        study: All trials so far.
        scores: Scores of the trials that are not running, by number; higher is better.
        seed: Seed of this proposal.
    """
    ranges = {name: d for name, d in space.dimensions.items() if not isinstance(d, Choice)}
    params = {trial.number: trial.params for trial in (*study.carried, *study)}
    known = {
        number: np.array([places[name] for name in ranges])
        for number in sorted(scores)
        if (places := _places(space, ranges, params[number])) is not None
    }
    startup = [number for number in known if number < space.search.startup_trials]
    best = max(startup, key=lambda number: (scores[number], -number), default=None)
    optimizer = CMA(
        mean=np.full(len(ranges), 0.5) if best is None else np.nan_to_num(known[best], nan=0.5),
        sigma=_WIDTH,
        bounds=np.tile([0.0, 1.0], (len(ranges), 1)),
        seed=seed,
    )
    scored = [(known[number], -scores[number]) for number in known if number >= space.search.startup_trials]
    size = optimizer.population_size
    for start in range(0, len(scored) - size + 1, size):
        generation = scored[start : start + size]
        optimizer.tell([(np.where(np.isnan(at), optimizer.mean, at), loss) for at, loss in generation])
    places = optimizer.ask()
    return {name: decode(d, float(place)) for (name, d), place in zip(ranges.items(), places, strict=True)}


def _places(
    space: Space, ranges: Mapping[str, Dimension], params: Mapping[str, Scalar]
) -> dict[str, float] | None:
    """Places of a trial's settings in the cube, NaN for an inactive one; None if one is not in its range."""
    places = {}
    for name, dimension in ranges.items():
        if not space.is_active(name, params):
            places[name] = math.nan
        elif contains(dimension, params.get(name)):
            places[name] = encode(dimension, params[name])
        else:
            return None
    return places
