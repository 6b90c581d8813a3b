"""Refuses, before the first trial, search ranges with values that the data or the backbone does not take."""

from __future__ import annotations

from collections.abc import Iterator

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.errors import InputError
from themo.files.run_folders import SEARCH_FILE
from themo.training.preconditions import refuse_unfit
from tune.space.dimensions import Dimension, IntRange, Scalar, contains, ends_of
from tune.space.read_dimensions import data_leaves
from tune.space.search_space import Space

FITTED = ("batch_size", "max_length", "hidden_size", "hidden_layers", "dropout")
"""Settings that must fit the corpus or the backbone, independently of each other."""


def refuse_unfit_ends(space: Space, settings: Settings, data: TrainingData) -> None:
    """Refuse a space whose ranges hold values that the data or the backbone does not take.

    Of whole numbers the first two and the last are checked, which suffices: the rules are a lowest value, a
    highest value, and multiples of a number (`hidden_size`). If these take the first two values of equal
    steps, they take all up to the last.

    Args:
        space: The search space.
        settings: Base settings, with one combination of searched data settings.
        data: The training data of that combination.

    Raises:
        InputError: A value of a range, or a choice, does not fit.
    """
    for values, varied in _corners(space, settings):
        try:
            refuse_unfit(settings.override(values, source=SEARCH_FILE) if values else settings, data)
        except InputError as error:
            is_inner = varied is not None and values[varied] not in ends_of(space.dimensions[varied])
            advice = f"; {varied} needs a `step` or a `choice` without such values" if is_inner else ""
            raise InputError(f"the search space: {error}{advice}") from None


def _corners(space: Space, settings: Settings) -> Iterator[tuple[dict[str, Scalar], str | None]]:
    """Yield the settings to check, and which one is not at its first end; None: all are.

    In a conditional space, they come from each box with the data of `settings`, with the parents' first
    values.
    """
    own, of_data = settings.leaves(), data_leaves()
    parents = {parent for condition in space.conditions.values() for parent in condition} - of_data
    for box in space.boxes:
        if len(space.boxes) > 1 and not all(contains(box[n], own[n]) for n in box if n in of_data):
            continue
        checked = {name: _checked(box[name]) for name in FITTED if name in box}
        firsts = {name: ends_of(box[name])[0] for name in box if name in parents or name in checked}
        yield firsts, None
        for name, values in checked.items():
            yield from ((firsts | {name: value}, name) for value in values[1:])


def _checked(dimension: Dimension) -> list[Scalar]:
    """The ends of a range and its second whole number, or all choices."""
    if isinstance(dimension, IntRange):
        return list(dict.fromkeys([dimension.low, dimension.low + dimension.step, dimension.high]))
    return ends_of(dimension)
