from __future__ import annotations

import numpy as np
import pytest
from conditional_spaces import conditional
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tune.forecasts.coordinates import Coordinates
from tune.space.dimensions import Choice, FloatRange, IntRange
from tune.space.search_space import Space

SPACE = Space(
    {
        "loss": Choice(["mse", "cosine", "infonce"]),
        "batch_size": IntRange(32, 256, step=32),
        "temperature": FloatRange(0.01, 1.0, log=True),
    },
    conditions={"temperature": {"loss": Choice(["infonce"])}},
)


@examples(max_examples=60, deadline=None)
@given(conditional(), st.integers(0, 99))
def test_places_and_settings_have_the_same_coordinates(space: Space, seed: int) -> None:
    coordinates = Coordinates(space)
    places = np.random.default_rng(seed).random((5, coordinates.n))
    settings = [coordinates.params(row) for row in places]
    assert np.allclose(coordinates.of_places(places), [coordinates.of(params) for params in settings])
    again = np.array([coordinates.places(params) for params in settings])
    assert np.allclose(coordinates.of_places(again), coordinates.of_places(places))


@pytest.mark.parametrize("n", [1, 3, 7, 10, 49])
def test_places_beside_borders_decode_to_their_coordinates(n: int) -> None:
    """Bit equal: a point of the cube must be predicted as the settings that it decodes to."""
    space = Space({"a": Choice([f"c{i}" for i in range(n)]), "b": IntRange(5, 2 + 3 * n, step=3)})
    coordinates = Coordinates(space)
    borders = np.arange(n + 1) / n
    beside = np.concatenate([np.nextafter(borders, 0.0), borders, np.nextafter(borders, 1.0)])
    places = np.stack([beside, beside], axis=1)
    assert np.array_equal(
        coordinates.of_places(places), [coordinates.of(coordinates.params(row)) for row in places]
    )


def test_choices_differ_by_one_and_ranges_by_their_places() -> None:
    coordinates = Coordinates(SPACE)
    a = coordinates.of({"loss": "mse", "batch_size": 32})
    b = coordinates.of({"loss": "infonce", "batch_size": 96, "temperature": 1.0})
    (loss,), (size,), (temperature,) = coordinates.squared_differences(a[None], b[None])
    assert loss == 1
    assert size == pytest.approx(0.25**2)
    assert temperature == pytest.approx(0.5**2)  # inactive: the middle of the range
    assert not coordinates.squared_differences(a[None], a[None]).any()


def test_values_outside_the_space_count_as_inactive() -> None:
    coordinates = Coordinates(SPACE)
    known = coordinates.of({"loss": "mse"})
    assert np.array_equal(coordinates.of({"loss": "mse", "batch_size": 3, "colour": "red"}), known)


@examples(max_examples=60, deadline=None)
@given(conditional(), st.integers(0, 99))
def test_distances_are_sums_of_weighted_differences(space: Space, seed: int) -> None:
    coordinates, random = Coordinates(space), np.random.default_rng(seed)
    a, b = (coordinates.of_places(random.random((n, coordinates.n))) for n in (4, 3))
    weights = random.exponential(size=coordinates.n)
    differences = coordinates.squared_differences(np.repeat(a, 3, axis=0), np.tile(b, (4, 1)))
    assert np.allclose(
        coordinates.squared_distances(a, b, weights).ravel(), weights @ differences, atol=1e-12
    )
