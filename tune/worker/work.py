"""Inputs of a search's trials, which the driver sends to every worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from tune.cluster.shipping import Shipment
from tune.space.dimensions import Scalar
from tune.space.search_settings import SearchSettings
from tune.study.trial_record import Trial
from tune.worker.memory import peak_memory
from tune.worker.reporter import Report


class Train(Protocol):
    """A training function; `themo.training.loop.train`."""

    def __call__(
        self,
        settings: Settings,
        data: TrainingData,
        *,
        report: Callable[[Report], None],
        resume: Path | None = None,
    ) -> object:
        """Train, calling `report` at intervals; continue from the checkpoint `resume` if given."""


@dataclass(frozen=True)
class Work:
    """Inputs shared by all trials of a search.

    Attributes:
        settings: Base settings, to which a trial's searched settings are applied.
        search: Settings of the search, which determine where trials are judged and write checkpoints.
        data: The training data of each combination of searched data settings.
        data_leaves: Names of these settings.
        storage: Folder or URI of the checkpoints, as seen by every worker.
        train: The training function.
        shipment: Sends the data to machines that do not share the driver's files; None: all share them.
        measure: Returns a trial's peak share of its GPU's memory.
    """

    settings: Settings
    search: SearchSettings
    data: Mapping[tuple[Scalar, ...], TrainingData]
    data_leaves: tuple[str, ...]
    storage: str
    train: Train
    shipment: Shipment | None = None
    measure: Callable[[], float | None] = peak_memory


def configuration(trial: Trial) -> dict[str, Any]:
    """The configuration of a trial that Ray passes to the worker."""
    return {
        "number": trial.number,
        "params": dict(trial.params),
        "gpus": trial.gpus,
        "checkpoint": trial.checkpoint,
        "checkpoint_pairs": trial.checkpoint_pairs,
        "training_seconds": trial.seconds_at.get(trial.checkpoint_pairs, 0.0),
        "cost": trial.cost,
    }
