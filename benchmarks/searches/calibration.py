"""How often the end of a recorded curve lies in the interval forecast from its beginning."""

from __future__ import annotations

import numpy as np

from benchmarks.measure import Goal, Row
from benchmarks.searches.curves import Curve
from benchmarks.searches.ours import OBJECTIVE
from benchmarks.searches.replay import Oracle
from tune.schedulers.explanation import Forecast
from tune.schedulers.rules import scheduler_of
from tune.study.study import Study

ROUNDS = 30
N_TRIALS = 16
"""Trials of a search: a quarter complete, the others cut after a uniformly random number of reports."""
LEAST = 0.85


def held_ends(table: str, oracle: Oracle, rounds: int = ROUNDS, seed: int = 0) -> Row:
    """The share of ends within their forecast interval of probability 0.9, with the median width."""
    random = np.random.default_rng(seed)
    whole = [curve for curve in oracle.firsts if curve.is_whole]
    found = []
    for _ in range(rounds):
        drawn = [whole[i] for i in random.permutation(len(whole))[:N_TRIALS]]
        lengths = [
            len(c.pairs) if i % 4 == 0 else int(random.integers(1, len(c.pairs))) for i, c in enumerate(drawn)
        ]
        found += _forecasts(oracle, drawn, lengths)
    held = [forecast.low <= end <= forecast.high for forecast, end in found]
    widths = [forecast.high - forecast.low for forecast, _ in found]
    return Row(
        f"{table}: ends within their 90 % interval",
        float(np.mean(held)),
        "share",
        Goal(LEAST),
        detail=f"{len(held)} forecasts of {len(whole)} curves, median width {np.median(widths):.3f}; "
        "goal also below 0.95",
        seeds=(seed,),
    )


def _forecasts(oracle: Oracle, drawn: list[Curve], lengths: list[int]) -> list[tuple[Forecast, float]]:
    """The forecast of each cut trial, with its recorded end."""
    space = oracle.space.searched_by(searcher="forecast", scheduler="freeze-thaw").for_trials(oracle.whole)
    study = Study(None, "max")
    for curve, length in zip(drawn, lengths, strict=True):
        number = study.add(curve.params).number
        for pairs, value in zip(curve.pairs[:length], curve.values[:length], strict=True):
            study.report(number, {"pairs_seen": pairs, OBJECTIVE: value}, OBJECTIVE)
        study.finish(number, "PAUSED")
    scheduler = scheduler_of(space.search, space)
    predicted = [scheduler.forecast(study, number) for number in range(len(drawn))]
    return [
        (forecast, curve.best)
        for forecast, curve, length in zip(predicted, drawn, lengths, strict=True)
        if forecast is not None and length < len(curve.pairs)
    ]
