"""Points where trials are judged: rungs at geometric distances, or equal intervals."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from tune.study.trial_record import Mode, Trial


def crosses(interval: int, before: int, pairs: int) -> bool:
    """Whether a multiple of an interval lies between two reports."""
    return pairs // interval > before // interval


@dataclass(frozen=True)
class Rungs:
    """The rungs of successive halving.

    Attributes:
        first: Sentence pairs at the first rung.
        factor: Ratio of each rung to the previous one.
    """

    first: float
    factor: float

    def between(self, before: int, pairs: int) -> int | None:
        """The highest rung in the interval (`before`, `pairs`]; None if there is none."""
        highest, rung = None, float(self.first)
        while rung <= pairs:
            if rung > before:
                highest = round(rung)
            rung *= self.factor
        return highest

    def passed(self, trial: Trial) -> dict[int, int]:
        """The rungs that a trial has reached, with the sentence pairs of the report that reached each."""
        reports = sorted(trial.values)
        highest, rung = {}, float(self.first)
        while reports and rung <= reports[-1]:
            highest[reports[bisect_left(reports, rung)]] = round(rung)
            rung *= self.factor
        return {rung: pairs for pairs, rung in highest.items()}

    def results(self, trials: Iterable[Trial], mode: Mode) -> dict[int, dict[int, float]]:
        """Best objective of each trial at each rung that it reached: by rung, then by trial number."""
        found: dict[int, dict[int, float]] = {}
        for trial in trials:
            for rung, pairs in self.passed(trial).items():
                best = trial.best(mode, up_to=pairs)
                if best is not None:
                    found.setdefault(rung, {})[trial.number] = best
        return found

    def results_at(self, rung: int, trials: Iterable[Trial], mode: Mode) -> dict[int, float]:
        """Best objective of each trial at one rung, by trial number."""
        found = {}
        for trial in trials:
            pairs = self.passed(trial).get(rung)
            best = None if pairs is None else trial.best(mode, up_to=pairs)
            if best is not None:
                found[trial.number] = best
        return found
