"""Axes: ticks, and labels in short lines."""

from __future__ import annotations

import pytest

from tune.results.report.axes import Axis, log_ticks, name_lines, wrapped
from tune.space.dimensions import Choice, Scalar


@pytest.mark.parametrize(
    ("choice", "lines"),
    [
        ("mse", ["mse"]),
        ("constant", ["constant"]),
        ("ViT-B-16", ["ViT-B-16"]),
        ("cosine+0.1*infonce", ["cosine", "+0.1*", "infonce"]),
        ("dccuchile/bert-base-spanish-wwm-uncased", ["dccuchile/", "…", "uncased"]),
        ("", [""]),
    ],
)
def test_choices_are_wrapped_into_three_lines_at_most(choice: str, lines: list[str]) -> None:
    assert wrapped(choice).split("<br>") == lines


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("loss", ["loss"]),
        ("projection_bias", ["projection_", "bias"]),
        ("val/retrieval@01", ["val/", "retrieval@01"]),
        ("gradientclipping", ["gradientclipping"]),
    ],
)
def test_names_have_two_lines_at_most(name: str, lines: list[str]) -> None:
    assert name_lines(name) == lines


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (32, 40_000, ["100", "1,000", "10,000"]),
        (1e-5, 1e-3, ["1e-05", "0.0001", "0.001"]),
        (2e-4, 8e-3, ["0.0002", "0.0005", "0.001", "0.002", "0.005"]),
        (100, 900, ["100", "200", "500"]),
        (2.1e-4, 4.9e-4, ["0.0003", "0.0004"]),
        (22, 42.9, ["30", "40"]),
        (1.1, 1.9, ["1.2", "1.4", "1.6", "1.8"]),
        (0.3, 0.4, ["0.3", "0.4"]),
        (1200.2, 1201.3, ["1,200.5", "1,201"]),
        (100, 100, ["100"]),
    ],
)
def test_a_logarithmic_axis_has_ticks(low: float, high: float, texts: list[str]) -> None:
    ticks = log_ticks(low, high)
    shown = zip(ticks["tickvals"], ticks["ticktext"], strict=True)
    assert [text for tick, text in shown if low * 0.9999999 <= tick <= high * 1.0000001] == texts


@pytest.mark.parametrize("choices", [[True, False, 1], [0, False], [1.0, 1, 2]])
def test_choices_that_are_equal_have_their_own_places(choices: list[Scalar]) -> None:
    axis = Axis.of(Choice(choices=choices))
    assert [axis.height(choice) for choice in choices] == [
        i / (len(choices) - 1) for i in range(len(choices))
    ]


def test_a_choice_of_another_type_has_its_equals_place() -> None:
    assert Axis.of(Choice(choices=[0.5, 1.0])).height(1) == 1
