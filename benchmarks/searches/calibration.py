"""How often the end of a recorded curve lies in the interval forecast from its beginning.

Once with beginnings of random lengths, and once with the beginnings that searches leave: most trials with one
or two reports, few of the best trained further.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.measure import Goal, Row
from benchmarks.searches.curves import Curve
from benchmarks.searches.ours import OBJECTIVE, Ours
from benchmarks.searches.replay import Oracle, replay
from tune.schedulers.explanation import Forecast
from tune.schedulers.rules import scheduler_of
from tune.space.search_settings import SchedulerName
from tune.space.search_space import Space
from tune.study.study import Study

ROUNDS = 30
N_TRIALS = 16
"""Trials of a search: a quarter complete, the others cut after a uniformly random number of reports."""
SCHEDULERS: tuple[SchedulerName, ...] = ("freeze-thaw", "pausing-asha", "asha")
N_SETTINGS = 28
"""Settings of a search that is cut."""
SHORTEST, LONGEST = 0.02, 0.2
"""Limits of the random share of pairs after which a search is cut; 1: every setting is trained completely."""
N_LEADING = 6
"""Number of best unfinished trials whose share is also given."""
NEVER = 0.01
"""Objective at its end below which a trial never learned."""
LEAST = 0.85
"""Goal: least share of ends within their 90 % interval."""


def held_ends(table: str, oracle: Oracle, rounds: int = ROUNDS, seed: int = 0) -> Row:
    """The share of ends within their forecast interval of probability 0.9, with the median width."""
    random = np.random.default_rng(seed)
    whole = [curve for curve in oracle.firsts if curve.is_whole]
    found: list[_Found] = []
    for _ in range(rounds):
        drawn = [whole[i] for i in random.permutation(len(whole))[:N_TRIALS]]
        lengths = [
            len(c.pairs) if i % 4 == 0 else int(random.integers(1, len(c.pairs))) for i, c in enumerate(drawn)
        ]
        found += _forecasts(oracle, drawn, _studied(drawn, lengths))
    detail = f"{len(found)} forecasts of {len(whole)} curves, {_width(found)}; goal also below 0.95"
    return Row(
        f"{table}: ends within their 90 % interval",
        _share(found),
        "share",
        Goal(LEAST),
        detail=detail,
        seeds=(seed,),
    )


def held_ends_in_searches(table: str, oracle: Oracle, rounds: int = ROUNDS, seed: int = 0) -> Row:
    """The same share where searches of recorded settings are cut at a random number of pairs."""
    random = np.random.default_rng(seed)
    whole = [curve for curve in oracle.firsts if curve.is_whole]
    found: list[_Found] = []
    leading: list[_Found] = []
    for i in range(rounds):
        drawn = [whole[j] for j in random.permutation(len(whole))[:N_SETTINGS]]
        space = oracle.space.searched_by(
            scheduler=SCHEDULERS[i % len(SCHEDULERS)], num_samples=len(drawn)
        ).for_trials(oracle.whole)
        method = Ours(space, [curve.params for curve in drawn])
        budget = random.uniform(SHORTEST, LONGEST) * len(drawn) * oracle.whole
        replay(method, oracle, budget=budget)
        ends = list(_forecasts(oracle, drawn, method.study))
        found += ends
        leading += sorted(ends, key=lambda each: -each[1])[:N_LEADING]
    never = [each for each in found if each[1] < NEVER]
    detail = (
        f"{len(found)} forecasts in {rounds} searches, {_width(found)}; of the {N_LEADING} best unfinished "
        f"trials {_share(leading):.2f}, {_width(leading)}; "
        f"{sum(map(_is_held, never))} of {len(never)} ends below {NEVER}"
    )
    return Row(
        f"{table}: ends within their 90 % interval in searches",
        _share(found),
        "share",
        Goal(LEAST),
        detail=detail,
        seeds=(seed,),
    )


_Found = tuple[Forecast, float]
"""A forecast and the recorded end."""


def _is_held(found: _Found) -> bool:
    forecast, end = found
    return forecast.low <= end <= forecast.high


def _share(found: Sequence[_Found]) -> float:
    return float(np.mean(list(map(_is_held, found))))


def _width(found: Sequence[_Found]) -> str:
    return f"median width {np.median([forecast.high - forecast.low for forecast, _ in found]):.3f}"


def _studied(drawn: Sequence[Curve], lengths: Sequence[int]) -> Study:
    """The record of paused trials with the first reports of their curves."""
    study = Study(None, "max")
    for curve, length in zip(drawn, lengths, strict=True):
        number = study.add(curve.params).number
        for pairs, value in zip(curve.pairs[:length], curve.values[:length], strict=True):
            study.report(number, {"pairs_seen": pairs, OBJECTIVE: value}, OBJECTIVE)
        study.finish(number, "PAUSED")
    return study


def _forecasts(oracle: Oracle, drawn: Sequence[Curve], study: Study) -> Iterator[_Found]:
    """The forecast of each unfinished trial, with its recorded end."""
    space: Space = oracle.space.searched_by(searcher="forecast", scheduler="freeze-thaw")
    space = space.for_trials(oracle.whole)
    scheduler = scheduler_of(space.search, space)
    for trial in study:
        curve = drawn[trial.number]
        forecast = scheduler.forecast(study, trial.number)
        if forecast is not None and len(trial.values) < len(curve.pairs):
            yield forecast, curve.best
