"""Time of a search's decisions after 1,000 trials, alternating between rules.

A decision is what the driver computes for one more trial: it asks for a waiting trial, proposes settings and
judges the first report. A formula gives the curves. The time excludes Ray, files and MLflow; see
`benchmarks.search_overhead`.

    python -m benchmarks decision_time
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from itertools import islice

from benchmarks.measure import Options, Row
from benchmarks.search_efficiency import without_first
from themo.config import settings as config
from tune.schedulers.decisions import decide
from tune.schedulers.rules import scheduler_of
from tune.schedulers.scheduler import Scheduler
from tune.searchers import quasi_random
from tune.searchers.by_name import propose
from tune.space.dimensions import Scalar
from tune.space.search_space import Space
from tune.study.study import Study

RULES = {
    "tpe, asha": {"searcher": "tpe", "scheduler": "asha"},
    "forecast, freeze-thaw": {"searcher": "forecast", "scheduler": "freeze-thaw"},
}
BEHIND, DECISIONS = 1_000, 10
WHOLE, INTERVAL = 143_949, 8_000
"""Pairs of a full trial of the miniature, and between its reports."""
_OBJECTIVE = "objective"


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- one record
    """Milliseconds of a decision for each rule."""
    space = without_first(config.load()).for_trials(WHOLE)
    searches = {
        name: _search(space.searched_by(num_samples=2 * BEHIND, **rule)) for name, rule in RULES.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in RULES}
    for number in range(DECISIONS):
        for name, (each, scheduler, study) in list(searches.items())[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            _decide(each, scheduler, study)
            seconds[name].append(time.perf_counter() - start)
    first = statistics.median(seconds[next(iter(RULES))])
    return [
        Row(
            f"a decision after {BEHIND:,} trials: {name}",
            1_000 * statistics.median(times),
            "ms",
            None,
            (1_000 * min(times), 1_000 * max(times)),
            f"{DECISIONS} decisions, median; {statistics.median(times) / first:.2f} of the first row's",
            (space.search.seed,),
        )
        for name, times in seconds.items()
    ]


def _search(space: Space) -> tuple[Space, Scheduler, Study]:
    """A search whose trials were judged by its own scheduler at their first three reports at most."""
    study, scheduler = Study(None, "max"), scheduler_of(space.search, space)
    for params in islice(quasi_random.points(space, 0, ()), BEHIND):
        number = study.add(space.active(params)).number
        for i in range(1, 2 + number % 3):
            _report(study, number, i)
        study.finish(number, "PAUSED" if space.search.scheduler == "freeze-thaw" else "PRUNED")
        study[number].checkpoint = "kept"
    return space, scheduler, study


def _decide(space: Space, scheduler: Scheduler, study: Study) -> None:
    scheduler.next_paused(study)
    number = study.add(propose(space, study)).number
    before = study[number].pairs_seen
    _report(study, number, 1)
    decide(scheduler, space, study, number, before)
    study.finish(number, "PRUNED")


def _report(study: Study, number: int, i: int) -> None:
    metrics = {"pairs_seen": i * INTERVAL, _OBJECTIVE: _objective(study[number].params, i)}
    study.report(number, metrics, _OBJECTIVE)


def _objective(params: Mapping[str, Scalar], i: int) -> float:
    """Between 0 and 1, rising with the reports; best at a learning rate of 1e-3."""
    rate = params["learn_rate"]
    assert isinstance(rate, float)
    return (1 - 0.5**i) / (1 + (rate / 1e-3 - 1) ** 2)
