"""Compares schedulers by replaying learning curves of random settings in different orders.

Each curve is known to its end, so the cost of any scheduler can be computed. There is no searcher and only
one slot: the schedulers alone differ. For each scheduler of `tune.schedulers`, and for successive halving
with Ray's rule (an interpolated quantile of the others), the benchmark measures:

- the epochs until the best of 32 random settings is found, with 40 settings in random order;
- the total epochs of a search over 32 settings, and whether its winner is the best of them.

    python -m benchmarks early_stopping
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from benchmarks.course import LOG, SETTINGS, TRAINED, random_search
from benchmarks.measure import Options, Row
from benchmarks.random_settings import RandomRun, collect
from themo.config import settings as config
from themo.process.progress import track
from tune.schedulers.asha import Asha
from tune.schedulers.rules import scheduler_of
from tune.schedulers.rungs import Rungs
from tune.schedulers.scheduler import Scheduler
from tune.space.search_settings import SchedulerName, SearchSettings
from tune.study.study import Study
from tune.study.trial_record import State

ORDERS = 400
ETA = 3
GRACES = (8_000, 16_000, 24_000)


@dataclass(frozen=True)
class Curve:
    """The learning curve of a run: pairs seen, epochs and objective of each report."""

    pairs: Sequence[int]
    epochs: Sequence[float]
    values: Sequence[float]

    @classmethod
    def of(cls, run: RandomRun, metric: str) -> Curve:
        """The curve of a run with at least one report."""
        return cls(
            [int(report["pairs_seen"]) for report in run.curve],
            [report["epoch"] for report in run.curve],
            [report[metric] for report in run.curve],
        )


@dataclass(frozen=True)
class Quantile(Asha):
    """Successive halving with Ray's quantile rule."""

    def judge(self, study: Study, number: int, before: int) -> State:
        """PRUNED at a rung below the quantile of the others."""
        trial = study[number]
        rung = self.rungs.between(before, trial.pairs_seen)
        if rung is None:
            return "RUNNING"
        results = self.rungs.results_at(rung, study, study.mode)
        others = [value for other, value in results.items() if other != number]
        passes = not others or (trial.best(study.mode) or 0.0) >= float(np.quantile(others, 1 - 1 / ETA))
        return "RUNNING" if passes else "PRUNED"


@dataclass(frozen=True)
class Replay:
    """Result of a scheduler on curves in one order.

    Attributes:
        until: Epochs until the bar was reached; infinite if it was not.
        spent: Total epochs, or epochs until the bar if the replay stops there.
        best: Best objective.
    """

    until: float
    spent: float
    best: float


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its seeds are its own
    """Rows for each scheduler and first rung: epochs to the bar, cost and result of complete searches."""
    settings = config.load()
    runs = collect(TRAINED, 1, settings, LOG)
    bar, spent = random_search(runs, settings)
    curves = [Curve.of(r, settings.objective) for r in runs if r.curve]
    rules = _rules()
    orders = [np.random.default_rng(i).permutation(len(curves)).tolist() for i in range(ORDERS)]
    rows = []
    with track("Replaying", len(rules), "rules") as advance:
        for name, rule in rules.items():
            rows += [
                _to_bar(name, rule(len(curves)), curves, orders, bar, spent),
                _whole(name, rule(SETTINGS), curves, orders, spent),
            ]
            advance(1)
    return rows


def _rules() -> Mapping[str, Callable[[int], Scheduler]]:
    rules: dict[str, Callable[[int], Scheduler]] = {}
    for grace in GRACES:

        def quantile(n: int, grace: int = grace) -> Scheduler:  # noqa: ARG001 -- whatever their number
            return Quantile(Rungs(grace, ETA))

        rules[f"Ray's quantile, from {grace:,}"] = quantile
        for name in get_args(SchedulerName):

            def named(n: int, name: SchedulerName = name, grace: int = grace) -> Scheduler:
                search = SearchSettings(
                    num_samples=n, scheduler=name, grace_pairs=grace, reduction_factor=float(ETA)
                )
                return scheduler_of(search)

            if name == "pbt":
                continue  # it changes settings during training, for which there are no curves
            if name != "none":
                rules[f"{name}, from {grace:,}"] = named
            elif grace == GRACES[0]:
                rules[name] = named
    return rules


def _to_bar(
    name: str,
    rule: Scheduler,
    curves: Sequence[Curve],
    orders: Sequence[Sequence[int]],
    bar: float,
    spent: float,
) -> Row:
    replays = [replay(rule, [curves[i] for i in order], bar) for order in orders]
    shares = np.array([one.until / spent for one in replays])
    low, high = np.quantile(shares, [0.1, 0.9], method="nearest")
    detail = f"{ORDERS} orders of {len(curves)} random settings, bar {bar:.4f}; spread: 10 and 90 %"
    figure = float(np.quantile(shares, 0.5, method="nearest"))
    return Row(f"stopping: {name}: until the bar", figure, "of random's", None, (low, high), detail)


def _whole(
    name: str, rule: Scheduler, curves: Sequence[Curve], orders: Sequence[Sequence[int]], spent: float
) -> Row:
    replays, lost = [], []
    for order in orders:
        chosen = [curves[i] for i in order[:SETTINGS]]
        replays.append(replay(rule, chosen))
        lost.append(max(max(curve.values) for curve in chosen) - replays[-1].best)
    shares = np.array([one.spent / spent for one in replays])
    low, high = np.quantile(shares, [0.1, 0.9], method="nearest")
    same = float(np.mean([difference <= 0 for difference in lost]))
    detail = (
        f"{ORDERS} choices of {SETTINGS} settings; the same winner in {same:.1%}, "
        f"else worse by {np.mean([x for x in lost if x > 0] or [0.0]):.4f} in the mean; spread: 10 and 90 %"
    )
    figure = float(np.quantile(shares, 0.5, method="nearest"))
    return Row(f"stopping: {name}: whole searches", figure, "of random's", None, (low, high), detail)


def replay(rule: Scheduler, curves: Sequence[Curve], bar: float = np.inf) -> Replay:
    """Replay one slot with a scheduler until the bar is reached or all trials are done."""
    spent, best = 0.0, -np.inf
    for spent, value in _reports(rule, curves):
        best = max(best, value)
        if best >= bar:
            return Replay(spent, spent, best)
    return Replay(np.inf, spent, best)


def _reports(rule: Scheduler, curves: Sequence[Curve]) -> Iterator[tuple[float, float]]:
    """Total epochs and objective at every report."""
    study = Study(None, "max")
    spent = 0.0
    while True:
        number = rule.next_paused(study)
        if number is not None:
            trial = study.resume(number)
        elif len(study) < len(curves):
            trial = study.add({})
        else:
            return
        curve = curves[trial.number]
        seen = curve.epochs[curve.pairs.index(trial.pairs_seen)] if trial.pairs_seen else 0.0
        state: State = "COMPLETE"
        for pairs, epochs, value in zip(curve.pairs, curve.epochs, curve.values, strict=True):
            before = trial.pairs_seen
            if pairs <= before:
                continue
            spent, seen = spent + epochs - seen, epochs
            study.report(trial.number, {"pairs_seen": pairs, "o": value}, "o")
            yield spent, value
            state = "COMPLETE" if pairs == curve.pairs[-1] else rule.judge(study, trial.number, before)
            if state not in ("RUNNING", "COMPLETE"):
                trial.checkpoint = "kept"
                break
        study.finish(trial.number, state)
