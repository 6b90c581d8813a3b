"""Points at which trials are judged: rungs at geometric distances, or equal intervals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tune.space.search_settings import Resource, SecondObjective
from tune.study.resource import curve_of
from tune.study.trial_record import Mode, Trial


@dataclass(frozen=True)
class Interval:
    """Points at equal distances: the multiples of an amount."""

    amount: float

    def between(self, before: float, now: float) -> float | None:
        """The highest multiple in the interval (`before`, `now`]; None without a multiple."""
        n = now // self.amount
        return n * self.amount if n > before // self.amount else None


@dataclass(frozen=True)
class Rungs:
    """The rungs of successive halving.

    A trial's objective at a rung of sentence pairs is its best one at the first report that reaches the rung.
    Reports are at equal pairs, so this compares trials after about equal pairs. Their seconds differ: a slow
    trial's report may come long after a rung of seconds. There the best objective is interpolated between the
    reports around the rung, and a trial whose first report comes after a rung is not compared at it.

    Attributes:
        first: Amount at the first rung.
        factor: Ratio of each rung to the previous one.
        resource: The counted resource.
        second: The second objective, by which trials at a rung are ranked too; None: one objective.
    """

    first: float
    factor: float
    resource: Resource = "pairs"
    second: SecondObjective | None = None

    def between(self, before: float, now: float) -> float | None:
        """The highest rung in the interval (`before`, `now`]; None without a rung."""
        highest = None
        for exact, rung in self._up_to(now):
            if exact > before:
                highest = rung
        return highest

    def _up_to(self, amount: float) -> Iterator[tuple[float, float]]:
        """Yield the rungs up to an amount, each exact and rounded, to whole pairs or to milliseconds."""
        rung = float(self.first)
        while rung <= amount:
            yield rung, round(rung) if self.resource == "pairs" else round(rung, 3)
            rung *= self.factor

    def passed(self, trial: Trial) -> dict[float, int]:
        """The rungs of pairs at which a trial counts, with the pairs of the report that reached each.

        Of several rungs between two reports only the highest counts: the trial is judged there alone
        (`between`), and its value at a much later report would be too good for the lower ones.
        """
        reports = sorted(trial.values)
        reached = self._up_to(reports[-1]) if reports else ()
        highest = {reports[bisect_left(reports, exact)]: rung for exact, rung in reached}
        return {rung: pairs for pairs, rung in highest.items()}

    def values(self, trial: Trial, mode: Mode) -> dict[float, float]:
        """Best objective of a trial at each rung at which it counts, lowest rung first."""
        if self.resource == "seconds":
            return self._interpolated(trial, mode)
        bests = {rung: trial.best(mode, up_to=pairs) for rung, pairs in self.passed(trial).items()}
        return {rung: best for rung, best in bests.items() if best is not None}

    def value(self, rung: float, trial: Trial, mode: Mode) -> float | None:
        """Best objective of a trial at one rung; None if it did not reach it, or reported later only."""
        if self.resource == "seconds":
            return self._interpolated(trial, mode).get(rung)
        pairs = self.passed(trial).get(rung)
        return None if pairs is None else trial.best(mode, up_to=pairs)

    def _interpolated(self, trial: Trial, mode: Mode) -> dict[float, float]:
        pick = max if mode == "max" else min
        times: list[float] = []
        bests: list[float] = []
        for at, value in sorted(curve_of(trial, self.resource).items()):
            times.append(at)
            bests.append(pick(bests[-1], value) if bests else value)
        found = {}
        for exact, rung in self._up_to(times[-1] if times else 0.0):
            after = bisect_right(times, exact)
            if after == len(times):
                found[rung] = bests[-1]
            elif after > 0:
                share = (exact - times[after - 1]) / (times[after] - times[after - 1])
                found[rung] = bests[after - 1] + share * (bests[after] - bests[after - 1])
        return found

    def results(self, trials: Iterable[Trial], mode: Mode) -> dict[float, dict[int, float]]:
        """Best objective of each trial at each rung that it reached: by rung, then by trial number."""
        found: dict[float, dict[int, float]] = {}
        for trial in trials:
            for rung, best in self.values(trial, mode).items():
                found.setdefault(rung, {})[trial.number] = best
        return found

    def results_at(self, rung: float, trials: Iterable[Trial], mode: Mode) -> dict[int, float]:
        """Best objective of each trial at one rung, by trial number."""
        bests = {trial.number: self.value(rung, trial, mode) for trial in trials}
        return {number: best for number, best in bests.items() if best is not None}
