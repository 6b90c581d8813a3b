"""Compares schedulers on recorded settings in random orders: pairs trained, and whether the best wins.

Each curve is known to its end, so the cost of any scheduler can be computed. There is no searcher and only
one slot, so only the schedulers differ. A search keeps the winner if no chosen curve is better than the curve
of its winner. The tables are those of `benchmarks.searches.recording`.

    python -m benchmarks early_stopping
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import numpy as np

from benchmarks.measure import Options, Row
from benchmarks.searches.comparison import TABLES
from benchmarks.searches.curves import Curve, read
from benchmarks.searches.ours import Ours
from benchmarks.searches.replay import Oracle, Replay, oracle_of, replay
from themo.process.progress import track
from tune.space.search_settings import SchedulerName

ORDERS = 100
SHARE = 0.75
"""Share of a table's settings that a search chooses."""


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its seeds are its own
    """Rows for each table and scheduler."""
    names = [name for name in get_args(SchedulerName) if name != "pbt"]  # pbt changes settings in training
    oracles = {path.stem: oracle_of(read(path)) for path in sorted(TABLES.glob("*.parquet"))}
    rows = []
    with track("Replaying", len(names) * len(oracles) * ORDERS, "searches") as advance:
        for table, oracle in oracles.items():
            for name in names:
                ends = []
                for order in range(ORDERS):
                    ends.append(_end(oracle, name, order))
                    advance(1)
                rows.append(_row(table, name, ends))
    return rows


def _end(oracle: Oracle, scheduler: SchedulerName, order: int) -> tuple[float, float]:
    """Share of the chosen curves' pairs that a search took, and how much better the best curve is."""
    whole = [curve for curve in oracle.firsts if curve.is_whole]
    numbers = np.random.default_rng(order).permutation(len(whole))[: round(SHARE * len(whole))]
    chosen = [whole[number] for number in numbers]
    found = search(oracle, chosen, scheduler)
    return found.pairs[-1] / sum(curve.pairs[-1] for curve in chosen), best_of(chosen) - found.bests[-1]


def search(oracle: Oracle, chosen: Sequence[Curve], scheduler: SchedulerName) -> Replay:
    """Replay a search that trains given settings in their order, in one slot."""
    space = oracle.space.searched_by(scheduler=scheduler, num_samples=len(chosen)).for_trials(oracle.whole)
    return replay(Ours(space, [curve.params for curve in chosen]), oracle, budget=math.inf)


def best_of(curves: Sequence[Curve]) -> float:
    """The best objective of some curves."""
    return max(curve.best for curve in curves)


def _row(table: str, scheduler: SchedulerName, ends: Sequence[tuple[float, float]]) -> Row:
    shares, lost = np.array(ends).T
    low, high = np.quantile(shares, [0.1, 0.9], method="nearest")
    worse = lost[lost > 0]
    detail = (
        f"the same winner in {np.mean(lost <= 0):.1%} of {len(ends)} orders, otherwise worse by "
        f"{worse.mean() if len(worse) else 0:.4f} on average; spread: 10 and 90 % quantiles"
    )
    figure = float(np.quantile(shares, 0.5, method="nearest"))
    return Row(f"{table}: {scheduler}", figure, "of all pairs", None, (float(low), float(high)), detail)
