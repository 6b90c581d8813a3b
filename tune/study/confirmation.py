"""The record of a winner's confirmation: its plan and its runs.

Data only: `tune.confirmation` plans it and reads its result. The plan is fixed before the first run, since a
test that continues until it succeeds proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune.study.trial_record import Trial, read_trial

SEED = "seed"
"""The setting that differs between runs that repeat a trial."""


@dataclass
class Confirmation:
    """Plan and outcome of a confirmation.

    Attributes:
        winner: Number of the trial with the best student on disk when the confirmation was planned.
        rivals: Numbers of the trials that the winner is compared with, in the order of the claims.
        trusted: The rival with the first trusted settings; None: no such rival.
        seeds: The planned further seeds of training, in order.
        pairs_before: Sentence pairs of runs for earlier winners, which this winner's runs exclude.
        handed_over: Number of the trial whose student is the result of the search, once decided: the winner,
            or a rival that is proven better.
    """

    winner: int
    rivals: tuple[int, ...]
    trusted: int | None
    seeds: tuple[int, ...]
    pairs_before: int = 0
    handed_over: int | None = None

    @property
    def finalists(self) -> tuple[int, ...]:
        """The winner and its rivals."""
        return (self.winner, *self.rivals)

    def to_tree(self) -> dict[str, Any]:
        """The plan as a JSON object of ``study.json``."""
        return {**vars(self), "rivals": list(self.rivals), "seeds": list(self.seeds)}


def read_confirmation(tree: Mapping[str, Any]) -> tuple[Confirmation, list[Trial]]:
    """The plan and the runs in ``study.json``.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: The entry is invalid.
    """
    tree = dict(tree)
    runs = [read_trial(entry) for entry in tree.pop("runs")]
    plan = Confirmation(**tree | {"rivals": tuple(tree["rivals"]), "seeds": tuple(tree["seeds"])})
    return plan, runs
