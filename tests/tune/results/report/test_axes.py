"""Labels of axes in short lines."""

from __future__ import annotations

import pytest

from tune.results.report.axes import name_lines, wrapped


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
