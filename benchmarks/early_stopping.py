"""Which rule stops a random search soonest? The curves of trained random settings, replayed in other orders.

Each curve is known to its end, so any rule can be asked what it would have spent until the best of 32 random
settings is found. Nothing is proposed by a model here: the rules alone differ. Compared: no stopping;
successive halving as Ray counts (an interpolated quantile of the others), as the paper counts (one in eta,
`tune.asha`), and in its promoting form, in which a trial waits at a rung until it is among the best there.

    python -m benchmarks early_stopping
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.measure import Options, Row
from benchmarks.random_settings import RandomRun, collect
from benchmarks.search_efficiency import LOG, TRAINED, random_search
from themo import config
from tune.asha import is_among_best

ORDERS = 400
ETA = 3
GRACES = (8_000, 16_000, 24_000)

Passes = Callable[[float, list[float]], bool]


@dataclass(frozen=True)
class Curve:
    """A run's reports: pairs seen, epochs, and the best objective until then."""

    pairs: Sequence[float]
    epochs: Sequence[float]
    best: Sequence[float]

    @classmethod
    def of(cls, run: RandomRun, metric: str) -> Curve:
        """Of a run that has reported at all."""
        best = np.maximum.accumulate([report[metric] for report in run.curve])
        return cls(
            [report["pairs_seen"] for report in run.curve],
            [report["epoch"] for report in run.curve],
            best.tolist(),
        )

    def at(self, rung: float) -> int | None:
        """The first report at or above a rung; None where training ends before."""
        place = int(np.searchsorted(self.pairs, rung))
        return place if place < len(self.pairs) else None

    def reaches(self, bar: float, last: int) -> float | None:
        """Epochs until the best is at the bar, if it is by a report."""
        return next((e for e, b in zip(self.epochs[: last + 1], self.best, strict=False) if b >= bar), None)


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its seeds are its own
    """A row a rule and first rung: the median share of the epochs that 32 settings take to their ends."""
    settings = config.load()
    runs = collect(TRAINED, 1, settings, LOG)
    bar, spent = random_search(runs, settings)
    curves = [Curve.of(r, settings.objective) for r in runs if r.curve]
    rungs = {grace: [grace * ETA**k for k in range(8)] for grace in GRACES}
    rules: dict[str, Callable[[list[Curve]], float]] = {"none": partial(stop, bar, [], never)}
    for grace in GRACES:
        rules[f"quantile of the others, from {grace:,}"] = partial(stop, bar, rungs[grace], above_quantile)
        rules[f"one in {ETA}, from {grace:,}"] = partial(stop, bar, rungs[grace], among_best)
        rules[f"promoting, from {grace:,}"] = partial(promote, bar, rungs[grace])
    rows = []
    for name, rule in rules.items():
        orders = (np.random.default_rng(i).permutation(len(curves)) for i in range(ORDERS))
        shares = np.array([rule([curves[i] for i in order]) / spent for order in orders])
        low, high = np.quantile(shares, [0.1, 0.9], method="nearest")
        detail = f"{ORDERS} orders of {len(curves)} random settings, bar {bar:.4f}; spread: 10 and 90 %"
        figure = float(np.quantile(shares, 0.5, method="nearest"))
        rows.append(Row(f"stopping: {name}", figure, "of random's", None, (low, high), detail))
    return rows


def never(value: float, others: list[float]) -> bool:  # noqa: ARG001 -- whatever they are
    """Nothing is stopped."""
    return True


def above_quantile(value: float, others: list[float]) -> bool:
    """Ray's rule."""
    return not others or value >= float(np.quantile(others, 1 - 1 / ETA))


def among_best(value: float, others: list[float]) -> bool:
    """The search's own rule."""
    return is_among_best(value, others, ETA, "max")


def stop(bar: float, rungs: Sequence[float], passes: Passes, curves: list[Curve]) -> float:
    """Epochs until the bar is reached, one setting after the other."""
    seen: dict[float, list[float]] = {rung: [] for rung in rungs}
    spent = 0.0
    for curve in curves:
        last = len(curve.pairs) - 1
        for rung in rungs:
            place = curve.at(rung)
            if place is None:
                break
            value = curve.best[place]
            goes_on = passes(value, seen[rung])
            seen[rung].append(value)
            if not goes_on:
                last = place
                break
        reached = curve.reaches(bar, last)
        if reached is not None:
            return spent + reached
        spent += curve.epochs[last]
    return np.inf


def promote(bar: float, rungs: Sequence[float], curves: list[Curve]) -> float:
    """Epochs until the bar is reached when the best that wait at a rung go before new settings."""
    waiting: list[list[tuple[float, int]]] = [[] for _ in rungs]
    promoted: list[set[int]] = [set() for _ in rungs]
    fresh = list(range(len(curves)))
    spent = 0.0
    while True:
        for level in reversed(range(len(rungs))):
            best = sorted(waiting[level], reverse=True)[: len(waiting[level]) // ETA]
            chosen = next((i for _, i in best if i not in promoted[level]), None)
            if chosen is not None:
                promoted[level].add(chosen)
                start, target = level, level + 1
                break
        else:
            if not fresh:
                return np.inf
            chosen, start, target = fresh.pop(0), None, 0
        curve = curves[chosen]
        before = 0.0 if start is None else curve.epochs[curve.at(rungs[start]) or 0]
        place = curve.at(rungs[target]) if target < len(rungs) else None
        last = len(curve.pairs) - 1 if place is None else place
        reached = curve.reaches(bar, last)
        if reached is not None:
            return spent + reached - before
        spent += curve.epochs[last] - before
        if place is not None:
            waiting[target].append((curve.best[place], chosen))
