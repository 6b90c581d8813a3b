"""What a search has spent and found, report after report: the same account of every way to search.

The target is what random search of 32 settings finds, trained to their ends as the original did. That is a
matter of luck, so more are trained, and the bar is the median of the best over many choices of 32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.random_settings import RandomRun
from themo.config import settings as config

SETTINGS, TRAINED = 32, 40
CHOICES = 10_000
GIVE_UP = 0.3
"""A search that needs more of random search's epochs than this misses the target, by however much."""
LOG = Path("logs/bench/random_settings.jsonl")


@dataclass(frozen=True)
class Target:
    """When a search is over.

    Attributes:
        bar: The objective that is to be reached.
        limit: Epochs over all trials at which it is given up.
    """

    bar: float
    limit: float = math.inf


@dataclass
class Course:
    """A search as it went.

    Attributes:
        target: When it is over.
        reports: Of all trials in the order in which they came: the trial, epochs spent in all, the objective.
    """

    target: Target
    reports: list[tuple[int, float, float]] = field(default_factory=list)
    _epochs: dict[int, float] = field(default_factory=dict, repr=False)

    def enter(self, trial: int, epoch: float, value: float) -> None:
        """A trial's report after so many epochs of its own; a trial that goes on pays for what is new."""
        self._epochs[trial] = epoch
        self.reports.append((trial, sum(self._epochs.values()), value))

    @property
    def best(self) -> float:
        """The best objective."""
        return max((value for _, _, value in self.reports), default=0.0)

    @property
    def epochs(self) -> float:
        """Spent, over all trials."""
        return self.reports[-1][1] if self.reports else 0.0

    @property
    def trials(self) -> int:
        """Those that reported at all."""
        return len({trial for trial, _, _ in self.reports})

    @property
    def until(self) -> float:
        """Epochs until the bar was reached; infinite where it was not."""
        return next((spent for _, spent, value in self.reports if value >= self.target.bar), math.inf)

    @property
    def is_over(self) -> bool:
        """Whether the bar is reached, or the search given up."""
        return self.best >= self.target.bar or self.epochs >= self.target.limit

    def best_at(self, epochs: np.ndarray) -> np.ndarray:
        """The best objective after each of so many epochs; 0 before the first report."""
        spent = np.array([spent for _, spent, _ in self.reports])
        bests = np.maximum.accumulate([0.0, *(value for _, _, value in self.reports)])
        return bests[np.searchsorted(spent, epochs, side="right")]

    def __str__(self) -> str:
        return f"{self.best:.4f} after {self.epochs:.1f} epochs of {self.trials} trials"


def random_search(runs: list[RandomRun], settings: config.Settings) -> tuple[float, float]:
    """Median best of `SETTINGS` random settings and the epochs that they take."""
    bests = np.array([run.best(settings.objective) for run in runs])
    random = np.random.default_rng(0)
    found = [bests[random.choice(len(bests), SETTINGS, replace=False)].max() for _ in range(CHOICES)]
    return float(np.median(found)), SETTINGS * settings.training.epochs
