"""Refuses, before the first trial, search ranges that the data or the backbone cannot train."""

from __future__ import annotations

from collections.abc import Iterator

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.errors import InputError
from themo.training.preconditions import refuse_unfit
from tune.space.dimensions import Scalar, contains, ends_of
from tune.space.read_dimensions import data_leaves
from tune.space.search_space import Space
from tune.study.naming import SEARCH_FILE

FITTED = ("batch_size", "max_length", "hidden_size", "hidden_layers", "dropout")
"""Settings that must fit the corpus or the backbone, independently of each other."""


def refuse_unfit_ends(space: Space, settings: Settings, data: TrainingData) -> None:
    """Refuse a space whose ranges exceed the limits of the data or the backbone.

    Args:
        space: The search space.
        settings: Base settings, with one combination of searched data settings.
        data: The training data of that combination.

    Raises:
        InputError: An end of a range, or a choice, does not fit.
    """
    for values in _corners(space, settings):
        try:
            refuse_unfit(settings.override(values, source=SEARCH_FILE) if values else settings, data)
        except InputError as error:
            raise InputError(f"the search space: {error}") from None


def _corners(space: Space, settings: Settings) -> Iterator[dict[str, Scalar]]:
    """Yield the settings to check: each end of each range once, with all other ranges at their first ends.

    In a conditional space, they come from each box with the data of `settings`, with the parents' first
    values.
    """
    own, of_data = settings.leaves(), data_leaves()
    parents = {parent for condition in space.conditions.values() for parent in condition} - of_data
    for box in space.boxes:
        if len(space.boxes) > 1 and not all(contains(box[n], own[n]) for n in box if n in of_data):
            continue
        ends = {name: ends_of(box[name]) for name in FITTED if name in box}
        firsts = {name: ends_of(box[name])[0] for name in box if name in parents or name in ends}
        yield firsts
        for name, values in ends.items():
            yield from (firsts | {name: value} for value in values[1:])
