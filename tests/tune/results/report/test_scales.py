"""Scales of the objective: the default, the positions and the ticks."""

from __future__ import annotations

import math

import pytest

from tune.results.report.scales import Scale, scales_of


def texts(scale: Scale) -> list[str]:
    return [tick.text for tick in scale.ticks]


def test_good_shares_begin_with_the_distance_from_1() -> None:
    distance, even = scales_of([0.001, 0.988, 0.992, 0.998], "max")
    assert (distance.name, even.name) == ("distance", "even")
    assert texts(distance) == ["0", "0.5", "0.8", "0.9", "0.95", "0.98", "0.99", "0.995", "0.998"]
    # of the axis' length, the two good scores are a fifteenth apart; on even steps a 270th
    apart = [
        (scale.position(0.992) - scale.position(0.988)) / (scale.high - scale.low)
        for scale in (distance, even)
    ]
    assert apart[0] > 1 / 17
    assert apart[1] < 1 / 250


def test_halving_the_errors_has_one_length() -> None:
    distance = scales_of([0.0, 0.999], "max")[0]
    steps = [distance.position(1 - 0.5 ** (i + 1)) - distance.position(1 - 0.5**i) for i in range(8)]
    assert steps == pytest.approx([math.log10(2)] * 8)


def test_a_share_of_1_has_a_place_and_a_tick() -> None:
    distance = scales_of([0.5, 0.99, 1.0], "max")[0]
    assert distance.position(1.0) == pytest.approx(-math.log10(0.005))
    assert distance.position(0.99) < distance.position(1.0) < distance.high
    assert texts(distance)[-1] == "1"


def test_poor_shares_begin_with_even_steps() -> None:
    assert [scale.name for scale in scales_of([0.0, 0.6], "max")] == ["even", "distance"]
    assert [scale.name for scale in scales_of([0.0, 0.2], "max")] == ["even"]


def test_shares_that_are_alike_have_even_steps() -> None:
    (even,) = scales_of([0.988, 0.992], "max")
    assert (even.position(0.992) - even.position(0.988)) / (even.high - even.low) > 0.9


@pytest.mark.parametrize(
    ("values", "names"),
    [([0.01, 3.0], ["log", "even"]), ([1.0, 3.0], ["even", "log"]), ([-1.0, 3.0], ["even"])],
)
def test_losses_above_0_have_a_logarithm(values: list[float], names: list[str]) -> None:
    assert [scale.name for scale in scales_of(values, "min")] == names


def test_values_above_1_are_no_shares() -> None:
    assert [scale.name for scale in scales_of([0.5, 1.5], "max")] == ["even"]


@pytest.mark.parametrize("values", [[0.5], [1.0], [1.0, 1.0], [-1.0, 1.0], [0.9999999, 0.2]])
def test_every_value_lies_within_the_axis(values: list[float]) -> None:
    for scale in scales_of(values, "max"):
        assert scale.low < scale.high
        assert all(scale.low < scale.position(value) < scale.high for value in values)
        assert all(scale.low <= tick.position <= scale.high for tick in scale.ticks)
