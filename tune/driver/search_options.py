"""The options of a search, as passed to the command ``tune`` or the function `themo.tune`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class SearchOptions:
    """The options of ``tune`` by their names; None: not given.

    Attributes:
        settings: Settings by leaf name.
        space: File or content of the search space, or only its mapping of settings to ranges.
        time_budget: Seconds.
        trial_seconds: Seconds of training of a whole trial.
        confirm: Share of the search's sentence pairs; 0: off.
        gpus_per_trial: `themo.cli.options.AUTO_GPUS` for ``auto``.
        register: Name under which MLflow's registry takes the winner; None: nothing is registered.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    config: Path | None = None
    preset: str | None = None
    space: Path | Mapping[str, Any] | None = None
    num_samples: int | None = None
    name: str | None = None
    resume: str | None = None
    repeat: str | None = None
    warm_start: str | None = None
    search_seed: int | None = None
    searcher: str | None = None
    scheduler: str | None = None
    second_objective: str | None = None
    resource: str | None = None
    trial_seconds: float | None = None
    time_budget: float | None = None
    stop_after_no_gain: int | Literal["off"] | None = None
    stop_gain: float | Literal["off"] | None = None
    stop_chance: float | None = None
    confirm: float | None = None
    confirm_seeds: int | None = None
    gpus_per_trial: float | None = None
    cpus_per_trial: float | None = None
    max_concurrent: int | None = None
    address: str | None = None
    storage_path: str | None = None
    register: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SearchOptions:
        """The options among the values of a parsed command line."""
        return cls(**{option.name: values[option.name] for option in fields(cls)})

    @property
    def space_source(self) -> str:
        """Name of the given space in messages."""
        return str(self.space) if isinstance(self.space, Path) else "space"
