"""Cost and best objective of a search, report by report: one measure for all search methods.

The target is the result of random search over 32 settings, each trained to its end as in the original. To
reduce the effect of luck, more settings are trained; the target is the median best over many choices of 32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.random_settings import RandomRun
from themo.checkpoints.environment import commit
from themo.config import settings as config

SETTINGS, TRAINED = 32, 40
CHOICES = 10_000
GIVE_UP = 0.3
"""Share of random search's epochs after which the search counts as failed."""
LOG = Path("logs/bench/random_settings.jsonl")


@dataclass(frozen=True)
class Target:
    """The condition that ends a search.

    Attributes:
        bar: Objective to reach.
        limit: Total epochs of all trials after which the search ends without success.
    """

    bar: float
    limit: float = math.inf


@dataclass
class Course:
    """The course of a search.

    Attributes:
        target: The condition that ends the search.
        reports: All reports in order of arrival: trial, total epochs spent, objective.
        commit: Commit of the checkout that ran the search.
    """

    target: Target
    reports: list[tuple[int, float, float]] = field(default_factory=list)
    commit: str = field(default_factory=commit)
    _epochs: dict[int, float] = field(default_factory=dict, repr=False)

    def enter(self, trial: int, epoch: float, value: float) -> None:
        """Add a trial's report; only epochs since the trial's previous report are added to the total."""
        self._epochs[trial] = epoch
        self.reports.append((trial, sum(self._epochs.values()), value))

    @property
    def best(self) -> float:
        """The best objective."""
        return max((value for _, _, value in self.reports), default=0.0)

    @property
    def epochs(self) -> float:
        """Total epochs of all trials."""
        return self.reports[-1][1] if self.reports else 0.0

    @property
    def trials(self) -> int:
        """Number of trials with a report."""
        return len({trial for trial, _, _ in self.reports})

    @property
    def until(self) -> float:
        """Epochs until the target was reached; infinite if it was not."""
        return next((spent for _, spent, value in self.reports if value >= self.target.bar), math.inf)

    @property
    def is_over(self) -> bool:
        """Whether the target is reached, or the search has ended without it."""
        return self.best >= self.target.bar or self.epochs >= self.target.limit

    def best_at(self, epochs: np.ndarray) -> np.ndarray:
        """The best objective at given numbers of epochs; 0 before the first report."""
        spent = np.array([spent for _, spent, _ in self.reports])
        bests = np.maximum.accumulate([0.0, *(value for _, _, value in self.reports)])
        return bests[np.searchsorted(spent, epochs, side="right")]

    def __str__(self) -> str:
        return f"{self.best:.4f} after {self.epochs:.1f} epochs of {self.trials} trials"


def random_search(runs: list[RandomRun], settings: config.Settings) -> tuple[float, float]:
    """The median best objective of `SETTINGS` random settings, and their total epochs."""
    bests = np.array([run.best(settings.objective) for run in runs])
    random = np.random.default_rng(0)
    found = [bests[random.choice(len(bests), SETTINGS, replace=False)].max() for _ in range(CHOICES)]
    return float(np.median(found)), SETTINGS * settings.training.epochs
