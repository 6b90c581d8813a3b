from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.space.cube import decode, encode
from tune.space.dimensions import Choice, FloatRange, IntRange, contains

DIMENSIONS = [
    FloatRange(-1.0, 3.0),
    FloatRange(1e-5, 1e-2, log=True),
    IntRange(32, 256, step=16),
    IntRange(1, 1000, log=True),
    Choice([False, True, 1, "one", None]),
]


@pytest.mark.parametrize("dimension", DIMENSIONS)
@given(st.floats(0, 1))
def test_every_place_is_a_value_and_leads_back_to_it(dimension, place):
    value = decode(dimension, place)
    assert contains(dimension, value)
    again = decode(dimension, encode(dimension, value))
    assert type(again) is type(value)
    assert again == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_both_ends_are_reached(dimension):
    first, last = decode(dimension, 0.0), decode(dimension, 1.0)
    if isinstance(dimension, Choice):
        assert (first, last) == (False, None)
    else:
        assert (first, last) == pytest.approx((dimension.low, dimension.high))


def test_values_of_a_choice_and_whole_numbers_have_equal_parts():
    choice = Choice(["a", "b", "c", "d"])
    assert [decode(choice, place / 8) for place in range(8)] == list("aabbccdd")
    whole = IntRange(0, 20, step=10)
    assert [decode(whole, place / 6) for place in range(6)] == [0, 0, 10, 10, 20, 20]


def test_the_middle_of_a_logarithmic_range_is_its_geometric_mean():
    assert decode(FloatRange(1e-4, 1e-2, log=True), 0.5) == pytest.approx(1e-3)
