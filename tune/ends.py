"""What trials could never train, found before the first: the ends of ranges against data and backbones."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from themo.config import Settings
from themo.dataset import TrainingData
from themo.errors import InputError
from themo.training import refuse_unfit
from tune.search import SEARCH_FILE, Search
from tune.session import data_leaves
from tune.space import Scalar, Space

FITTED = ("batch_size", "max_length", "hidden_size", "hidden_layers", "dropout")
"""Settings that must fit the corpus or the backbone, each by itself."""


def refuse_unfit_ends(search: Search, data_for: Callable[[Settings], TrainingData]) -> None:
    """Refuse a search whose ranges reach beyond what its data and backbones allow.

    Args:
        search: Which one.
        data_for: Training data of settings; called for each combination of searched data settings.

    Raises:
        InputError: An end of a range, or a choice, does not fit.
    """
    for combination in search.space.combinations(data_leaves()):
        own = search.settings.override(combination, source=SEARCH_FILE) if combination else search.settings
        data = data_for(own)
        for values in _corners(search.space):
            try:
                refuse_unfit(own.override(values, source=SEARCH_FILE) if values else own, data)
            except InputError as error:
                raise InputError(f"the search space: {error}") from None


def _corners(space: Space) -> Iterator[dict[str, Scalar]]:
    """Each end of each of these ranges once, the others at their first ends."""
    ends = {name: space.ends(name) for name in FITTED if name in space.dimensions}
    firsts = {name: values[0] for name, values in ends.items()}
    yield firsts
    for name, values in ends.items():
        yield from (firsts | {name: value} for value in values[1:])
