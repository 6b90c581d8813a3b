"""Refuses search spaces that can draw settings which contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from themo.config.settings import Settings
from themo.errors import InputError
from tune.space.dimensions import Choice, Dimension, Scalar, ends_of
from tune.space.search_space import Space

CONTRADICTING = (("batch_size", "accumulate"), ("backbone_weights", "hidden_size", "hidden_layers"))
"""Groups of searchable settings whose values may each be valid, but not beside each other (`Settings`)."""


def refuse_contradictions(space: Space, settings: Settings, source: str) -> None:
    """Refuse a space with settings that are active together and contradict each other.

    Of numbers the lowest and the highest are checked: each rule either compares two numbers, or asks whether
    a number is given at all.

    Args:
        space: The search space.
        settings: Base settings, which apply where a setting is inactive or not searched.
        source: Name of the space in messages.

    Raises:
        InputError: The first such values.
    """
    for box in space.boxes:
        for group in CONTRADICTING:
            searched = [name for name in group if name in box]
            for values in product(*(_extremes(box[name]) for name in searched)) if searched else ():
                _refuse(dict(zip(searched, values, strict=True)), settings, source)


def _refuse(values: Mapping[str, Scalar], settings: Settings, source: str) -> None:
    try:
        settings.override(values, source=source)
    except InputError as error:
        advice = "change a range, or search one setting only `when` another has a value that fits"
        raise InputError(f"{error}; {advice}") from None


def _extremes(dimension: Dimension) -> list[Scalar]:
    """The lowest and the highest number, and all other choices."""
    if not isinstance(dimension, Choice):
        return ends_of(dimension)
    numbers = [v for v in dimension.choices if isinstance(v, int | float) and not isinstance(v, bool)]
    others = [v for v in dimension.choices if v is None or isinstance(v, bool | str)]
    return [*others, *dict.fromkeys([min(numbers), max(numbers)] if numbers else [])]
