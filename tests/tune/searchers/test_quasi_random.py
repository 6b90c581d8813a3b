from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from tune.searchers.by_name import propose
from tune.searchers.quasi_random import points
from tune.space.cube import decode, encode
from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange, value_at
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.study import Study

LEARN_RATE = FloatRange(1e-5, 1e-2, log=True)


def space_of(seed: int, first: int = 0, **dimensions: Dimension) -> Space:
    trusted = tuple({"learn_rate": 1e-3, "batch_size": 112 + 16 * i} for i in range(first))
    return Space(dimensions, trusted, SearchSettings(searcher="quasi-random", seed=seed))


finite = st.one_of(
    st.integers(1, 40).map(lambda n: Choice([f"value {i}" for i in range(n)])),
    st.builds(lambda n, step: IntRange(-3, -3 + step * n, step=step), st.integers(1, 300), st.integers(1, 9)),
)


@given(
    st.lists(finite, min_size=1, max_size=3),
    st.integers(0, 2**32),
    st.integers(1, 200),
    st.integers(0, 200),
)
def test_values_of_finite_settings_take_turns(dimensions, seed, n, n_before):
    """In any first n points the counts of two values differ by 1 at most, wherever a caller begins."""
    named = {f"setting_{i}": dimension for i, dimension in enumerate(dimensions)}
    space = space_of(seed, learn_rate=LEARN_RATE, **named)
    drawn = list(islice(points(space, 0), n))
    for name, dimension in named.items():
        n_values = len(dimension.choices) if isinstance(dimension, Choice) else _length(dimension)
        counts = Counter(point[name] for point in drawn)
        if n_values <= 256:
            every = [counts[value_at(dimension, place)] for place in range(n_values)]
            assert sum(every) == n
            assert max(every) - min(every) <= 1
    assert next(points(space, n_before)) == list(islice(points(space, 0), n_before + 1))[-1]


def _length(dimension: IntRange) -> int:
    return (dimension.high - dimension.low) // dimension.step + 1


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("first", [0, 2, 5])
def test_32_trials_with_trusted_ones_have_each_batch_size(seed, first):
    space = space_of(seed, first, learn_rate=LEARN_RATE, batch_size=IntRange(32, 256, step=16))
    study = Study(None, "max")
    while len(study) < 32:
        study.add(propose(space, study))
    assert {t.params["batch_size"] for t in study.trials[first:]} == set(range(32, 257, 16))


@given(st.integers(0, 5), st.integers(0, 2**32))
def test_the_sequence_itself_where_the_number_is_a_power_of_2(exponent, seed):
    dimensions = {
        "learn_rate": LEARN_RATE,
        "batch_size": IntRange(1, 2**exponent),
        "warmup_steps": IntRange(1, 100, log=True),  # its values are not equally likely
        "max_length": IntRange(1, 1000),  # its values are too many
    }
    sequence = qmc.Sobol(4, rng=np.random.default_rng(seed)).random(64)
    expected = [
        {name: decode(d, float(place)) for (name, d), place in zip(dimensions.items(), point, strict=True)}
        for point in sequence
    ]
    assert list(islice(points(space_of(seed, **dimensions), 0), 64)) == expected


def test_points_are_as_even_as_those_of_the_sequence():
    """Learning rate and batch size together, over 50 seeds; random points are 8 times as uneven."""
    dimensions = {"learn_rate": LEARN_RATE, "batch_size": IntRange(1, 15)}
    ours, plain = [], []
    for seed in range(50):
        drawn = islice(points(space_of(seed, **dimensions), 0), 30)
        ours.append([[encode(d, point[name]) for name, d in dimensions.items()] for point in drawn])
        places = qmc.Sobol(2, rng=np.random.default_rng(seed)).random(32)[:30]
        plain.append(
            [
                [encode(d, decode(d, p)) for d, p in zip(dimensions.values(), row, strict=True)]
                for row in places
            ]
        )
    assert np.mean([*map(qmc.discrepancy, ours)]) < 1.05 * np.mean([*map(qmc.discrepancy, plain)])
