"""Arguments that a program passes to a model: each refusal names the argument, the rule and the value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from themo.errors import InputError
from themo.models.arguments import refuse_dimensions, refuse_texts, require_list

AXES = np.eye(12, dtype=np.float32)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("un perro", "`texts` must be a list, got str"),
        (None, "`texts` must be a list, got NoneType"),
        ([1], "`texts` must contain only texts, got int"),
        (["\ud800"], "`texts` must be Unicode, got an unpaired surrogate"),
    ],
)
def test_other_arguments_than_texts_are_refused(texts: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_texts(texts)
    assert str(caught.value) == message


def test_lists_of_the_named_types_pass() -> None:
    refuse_texts([])
    refuse_texts(("un perro", "la playa"))
    require_list(["a.jpg", Path("b.jpg")], "images", (str, Path))


@pytest.mark.parametrize("dimensions", [0, 13, -1])
def test_dimensions_outside_the_axes_are_refused(dimensions: int) -> None:
    with pytest.raises(InputError, match=f"^`dimensions` must be from 1 to 12, got {dimensions}$"):
        refuse_dimensions(dimensions, AXES, Path("v"))


def test_dimensions_need_nested_widths() -> None:
    for dimensions in (None, 1, 12):
        refuse_dimensions(dimensions, AXES, Path("v"))
    refuse_dimensions(None, None, Path("v"))
    with pytest.raises(InputError, match=r"^v: `dimensions` needs .*loss.nested_widths, got 5 for"):
        refuse_dimensions(5, None, Path("v"))
