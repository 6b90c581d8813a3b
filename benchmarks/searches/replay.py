"""Replays of searches in virtual time, on recorded curves and a surrogate for settings between them."""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import count

import numpy as np

from benchmarks.search_efficiency import without_first
from benchmarks.searches.curves import Curve
from benchmarks.searches.surrogate import Surrogate
from themo.checkpoints.environment import commit
from themo.config import settings as config
from themo.config.settings import Settings
from themo.files.cache import digest
from tune.space.dimensions import Scalar
from tune.space.search_space import Space

N_QUERIES = 1_000
"""Number of validation queries of both worlds; the objective is a share of them."""


@dataclass(frozen=True)
class Job:
    """A training to start or to continue.

    Attributes:
        trial: The method's name of the trial.
        params: Its settings.
        after: Sentence pairs of its earlier training.
    """

    trial: int
    params: dict[str, Scalar]
    after: int = 0


class Method(ABC):
    """A search method: it proposes trainings and decides at every report whether they continue."""

    @abstractmethod
    def ask(self) -> Job | None:
        """The next training for a free slot; None if there is none at the moment."""

    @abstractmethod
    def report(self, trial: int, pairs: int, value: float, *, is_last: bool) -> bool:
        """Whether a training continues after a report; after the last one it ends in any case."""

    def fail(self, trial: int) -> None:  # noqa: B027 -- not all methods hear of failures
        """A training diverged."""


class Oracle:
    """Curves of all settings of a space: the recorded ones with the first seed, and predictions.

    Args:
        settings: The world's settings.
        space: Its search space.
        curves: Recorded curves.
        pairs_an_epoch: Sentence pairs of an epoch.
    """

    def __init__(
        self, settings: Settings, space: Space, curves: Sequence[Curve], pairs_an_epoch: int
    ) -> None:
        firsts = [curve for curve in curves if curve.seed == 0 and curve.values]
        self.space, self.firsts = space, firsts
        self.whole = round(settings.training.epochs * pairs_an_epoch)
        self.pairs_an_epoch = pairs_an_epoch
        self._interval = settings.training.report_pairs
        self._known = {self._key(curve.params): curve for curve in firsts}
        n_reports = max(len(curve.pairs) for curve in firsts)
        self.surrogate = Surrogate(space, firsts, n_reports)
        self._n_reports = n_reports

    @cached_property
    def bar(self) -> float:
        """One standard error below the table's best objective, a share of `N_QUERIES`."""
        best = max(curve.best for curve in self.firsts)
        return best - math.sqrt(best * (1 - best) / N_QUERIES)

    @cached_property
    def digest(self) -> str:
        """A digest of the space, of all curves and of the times of reports."""
        curves = [asdict(curve) for curve in self.firsts]
        return digest([self.space.to_tree(), curves, self.whole, self._interval])

    def curve(self, params: dict[str, Scalar]) -> Curve:
        """The recorded curve of a setting, or the predicted one."""
        known = self._known.get(self._key(params))
        return known or self.predicted(params)

    def _key(self, params: dict[str, Scalar]) -> tuple[tuple[str, Scalar], ...]:
        return tuple(sorted(self.space.active(params).items()))

    def predicted(self, params: dict[str, Scalar]) -> Curve:
        """The predicted curve of a setting; its reports are at the pairs of a training's reports."""
        found = self.surrogate.predict(params)
        size = params.get("batch_size", 1)
        assert isinstance(size, int)
        ends = [math.ceil(i * self._interval / size) * size for i in range(1, self._n_reports)]
        pairs = [*(end for end in ends if end < self.whole), self.whole]
        values = found.values[: len(pairs)]
        seconds = found.seconds * np.array(pairs) / self.whole
        return Curve(-1, 0, params, tuple(pairs), tuple(values.tolist()), tuple(seconds.tolist()))


def oracle_of(curves: Sequence[Curve]) -> Oracle:
    """The oracle of a table: a full training counts as one epoch in every world."""
    whole = max(curve.pairs[-1] for curve in curves if curve.is_whole)
    settings = config.load().override({"epochs": 1})
    return Oracle(settings, without_first(settings), curves, whole)


@dataclass
class Replay:
    """The record of a replayed search, report by report, in sentence pairs.

    Attributes:
        pairs: Sentence pairs of all trainings together at each report.
        bests: The best objective so far at each report.
        seconds: Virtual time at each report.
        n_trials: Number of trainings started.
        winner: Trial of the best objective; None without a report.
        commit: Commit of the checkout that replayed the search.
    """

    pairs: list[int] = field(default_factory=list)
    bests: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    n_trials: int = 0
    winner: int | None = None
    commit: str = field(default_factory=commit)

    def until(self, bar: float) -> float:
        """Sentence pairs until the best objective reached a target; infinite if it did not."""
        return next((p for p, best in zip(self.pairs, self.bests, strict=True) if best >= bar), math.inf)


def replay(method: Method, oracle: Oracle, *, slots: int = 1, budget: float, bar: float = math.inf) -> Replay:
    """Run a method in virtual time.

    Args:
        method: The search method.
        oracle: The curves.
        slots: Number of simultaneous trainings; each takes its recorded CPU seconds.
        budget: Sentence pairs after which the replay ends.
        bar: Objective at which it ends.
    """
    record, total, now = Replay(), 0, 0.0
    order = count()
    running: list[tuple[float, int, Job, Curve, int]] = []
    """Next report of each busy slot: its time, a tie breaker, training, curve, index of the report."""
    while True:
        while len(running) < slots and (job := method.ask()) is not None:
            curve = oracle.curve(job.params)
            first = next((i for i, pairs in enumerate(curve.pairs) if pairs > job.after), None)
            if first is None:
                method.fail(job.trial)
                continue
            record.n_trials += job.after == 0
            heapq.heappush(running, (now + _seconds(curve, first), next(order), job, curve, first))
        if not running:
            return record
        now, _, job, curve, i = heapq.heappop(running)
        pairs, value = curve.pairs[i], curve.values[i]
        before = curve.pairs[i - 1] if i else 0
        total += pairs - max(before, job.after)
        if not record.bests or value > record.bests[-1]:
            record.winner = job.trial
        record.pairs.append(total)
        record.bests.append(max(value, record.bests[-1] if record.bests else -math.inf))
        record.seconds.append(now)
        if total >= budget or record.bests[-1] >= bar:
            return record
        is_end = i + 1 == len(curve.pairs)
        continues = method.report(job.trial, pairs, value, is_last=is_end and curve.is_whole)
        if is_end and not curve.is_whole:
            method.fail(job.trial)
        elif continues and not is_end:
            heapq.heappush(running, (now + _seconds(curve, i + 1), next(order), job, curve, i + 1))


def _seconds(curve: Curve, i: int) -> float:
    """Seconds from the previous report to this one."""
    return curve.seconds[i] - (curve.seconds[i - 1] if i else 0.0)
