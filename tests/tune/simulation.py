"""Searches without Ray: the search's own adapters, reports arriving in any order, cut at any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from themo.config.settings import Settings
from tune.driver.scheduler import StudyScheduler
from tune.driver.searcher import StudySearcher
from tune.driver.stoppers import Breakdown
from tune.space.search_space import Space, from_tree
from tune.study.resource import amount_of
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.worker.trial_report import TrialReport

OBJECTIVE = "o"
PAIRS = 100
"""Sentence pairs between reports."""
WHOLE = 900
"""Sentence pairs of a whole trial."""

Objective = Callable[[Trial, int], float]
"""Value of a trial's report, by the trial and the report's number from 1."""


class Killed(Exception):  # noqa: N818 -- no error: the test asked for it
    """The process has gone."""


Pace = Callable[[int, int], float]
"""Seconds of training of a report, of a trial's number and the number of the report."""


def space_of(scheduler: str, n_trials: int, **search: object) -> Space:
    """Two settings, searched at random; `search` has further settings of the search."""
    base = Settings.model_validate(
        {"data": {"corpus": ["a.tsv"]}, "teacher": {"architecture": "a"}, "student": {"backbone": "a"}}
    )
    tree = {
        "space": {"learn_rate": {"log_uniform": [1e-5, 1e-2]}, "batch_size": {"integer": [32, 256]}},
        "search": {
            "scheduler": scheduler,
            "searcher": "random",
            "num_samples": n_trials,
            "grace_share": PAIRS / WHOLE,
            **search,
        },
    }
    return from_tree(tree, base, source="search.yaml").for_trials(WHOLE)


def play(
    space: Space,
    study: Study,
    objective: Objective,
    n_reports: int = 9,
    slots: int = 1,
    choices: Iterable[int] = (),
    moments: int | None = None,
    deaths: Iterable[bool] = (),
    pace: Pace = lambda _number, _step: 1.0,
    costs: Sequence[float] = (),
) -> Study:
    """Run a search, or the rest of it.

    Args:
        space: The search space, without data settings.
        study: The record.
        objective: The value of each report.
        n_reports: Reports of a whole trial.
        slots: Trials at once.
        choices: Index of the running trial that reports next, taken modulo their number; then always 0.
        moments: Number of steps before the process is killed; None: it lives.
        deaths: Whether the worker dies just after each report, before its checkpoint is complete.
        pace: Seconds of training of each report.
        costs: Cost of each trial's student in MB, by number; empty: the search has one objective.
    """
    resource = space.search.resource
    searcher = StudySearcher(space, study, lambda: slots)
    scheduler = StudyScheduler(space, study, OBJECTIVE, Breakdown(lambda: slots))
    chosen = iter(choices)
    left = iter(range(moments)) if moments is not None else None

    def live() -> None:
        if left is not None and next(left, None) is None:
            raise Killed

    at_work: dict[str, int] = {}
    taken_up: dict[str, float] = {}
    spent: dict[str, float] = {}
    clock = count()
    dies = iter(deaths)
    n_begun = 0
    while True:
        while isinstance(config := searcher.suggest(str(n_begun)), dict):
            at_work[str(n_begun)] = config["checkpoint_pairs"] // PAIRS
            spent[str(n_begun)] = config["training_seconds"]
            taken_up[str(n_begun)] = float(next(clock))
            n_begun += 1
            live()
        if not at_work:
            assert config == "FINISHED"
            return study
        trial_id = list(at_work)[next(chosen, 0) % len(at_work)]
        at_work[trial_id] += 1
        number, step = searcher.numbers[trial_id], at_work[trial_id]
        trial = study[number]
        before = amount_of(trial, resource)
        spent[trial_id] += pace(number, step)
        metrics = {"pairs_seen": float(PAIRS * step), OBJECTIVE: objective(trial, step)}
        if resource == "seconds":
            metrics["training_seconds"] = spent[trial_id]
        if costs:
            metrics["cost/mb"] = costs[number]
        report = TrialReport(
            number=number,
            metrics=metrics,
            is_last=step == n_reports,
            seconds=1.0,
            started=taken_up[trial_id],
            ended=float(next(clock)),
            machine="here",
        )
        config = {"number": number}
        decision = scheduler.on_trial_result(None, SimpleNamespace(config=config), report.to_result())
        live()
        if next(dies, False):
            scheduler.on_trial_error(None, SimpleNamespace(config=config, error_file="none"))
            searcher.on_trial_complete(trial_id, error=True)
            searcher.on_trial_complete(trial_id, error=True)  # of its last task Ray may tell too
            del at_work[trial_id]
            continue
        is_judged = scheduler._scheduler.is_judged(number, before, amount_of(trial, resource))
        if report.is_last or is_judged or space.search.is_spent(spent[trial_id]):
            trial.enter_checkpoint(f"{number}/{step}")
            study.save()
            live()
        if decision == TrialScheduler.STOP:
            searcher.on_trial_complete(trial_id)
            del at_work[trial_id]
            live()


def play_with_kills(
    space: Space, path: Path, objective: Objective, kills: Sequence[int], n_reports: int = 9, **others: Any
) -> Study:
    """A search, killed after so many steps of each process and resumed from its file.

    `others` are further arguments of `play`.
    """
    Study(path, "max").save()
    for moments in kills:
        with suppress(Killed):
            return play(space, Study.reopen(path), objective, n_reports, moments=moments, **others)
    return play(space, Study.reopen(path), objective, n_reports, **others)


def facts(study: Study) -> list[tuple[object, ...]]:
    """The facts of a search that must not depend on its kills."""
    return [(t.params, t.state, t.reason, t.values, t.checkpoint) for t in study]
