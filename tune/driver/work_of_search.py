"""The work of a search's trials: their data, by the searched data settings, and the training function."""

from __future__ import annotations

from collections.abc import Callable

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.files.run_folders import SEARCH_FILE
from tune.cluster.shipping import Shipment
from tune.driver.session_state import SessionState
from tune.space.dimensions import Scalar
from tune.space.read_dimensions import data_leaves
from tune.study.search import Search
from tune.worker.work import Train, Work

Data = dict[tuple[Scalar, ...], TrainingData]
"""Training data by the values of the searched data settings."""


def data_of_trials(search: Search, data_for: Callable[[Settings], TrainingData]) -> Data:
    """The data of all trials: one set for each combination of the searched data settings."""
    data: Data = {}
    for combination in search.space.combinations(data_leaves()):
        settings = (
            search.settings.override(combination, source=SEARCH_FILE) if combination else search.settings
        )
        own = settings.leaves()
        data[tuple(own[name] for name in _searched_leaves(search))] = data_for(settings)
    return data


def work_of_search(
    state: SessionState, data: Data, train: Train, measure: Callable[[], float | None]
) -> Work:
    """Return the inputs that workers share; on an existing cluster the data is shipped to them."""
    search = state.search
    return Work(
        search.settings,
        search.space.search,
        data,
        _searched_leaves(search),
        state.storage.place,
        train,
        measure=measure,
        shipment=Shipment.of(data.values()) if search.resources.address is not None else None,
    )


def _searched_leaves(search: Search) -> tuple[str, ...]:
    leaves = data_leaves()
    return tuple(name for name in search.space.dimensions if name in leaves)
