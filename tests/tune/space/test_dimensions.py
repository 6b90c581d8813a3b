from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.space.dimensions import (
    Choice,
    Dimension,
    FloatRange,
    IntRange,
    choices_of,
    contains,
    ends_of,
    read_rule,
    rule_of,
)

numbers = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)
scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)


def ordered(values: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(values, values).filter(lambda ends: ends[0] < ends[1])


dimensions = st.one_of(
    ordered(numbers).map(lambda ends: FloatRange(*ends)),
    ordered(positive).map(lambda ends: FloatRange(*ends, log=True)),
    st.tuples(st.integers(-99, 99), st.integers(1, 9), st.integers(1, 9)).map(
        lambda t: IntRange(t[0], t[0] + t[1] * t[2], step=t[2])
    ),
    st.tuples(st.integers(1, 99), st.integers(1, 99)).map(lambda t: IntRange(t[0], t[0] + t[1], log=True)),
    st.lists(scalars, min_size=1, unique_by=lambda value: (type(value), value)).map(Choice),
)


@given(dimension=dimensions)
def test_a_dimension_survives_its_rule_and_holds_its_ends(dimension: Dimension):
    assert read_rule(rule_of(dimension), "x.yaml: space.learn_rate") == dimension
    assert all(contains(dimension, end) for end in ends_of(dimension))


@given(dimension=dimensions.filter(lambda d: not isinstance(d, Choice)))
def test_a_range_ends_where_it_ends(dimension: Dimension):
    low, high = ends_of(dimension)
    assert not contains(dimension, low - 1)
    assert not contains(dimension, high + 1)
    with pytest.raises(TypeError, match="has no finite choices"):
        choices_of(dimension)


def test_an_integer_is_no_bool_and_a_choice_of_1_is_not_true():
    assert not contains(IntRange(0, 1), True)
    assert not contains(Choice([1, 2]), True)
    assert contains(Choice([False, True]), True)
    assert not contains(FloatRange(0, 1), float("nan"))
