"""How much training does the search save? Epochs until it has what random search without stopping finds.

Random search trains every setting to its end, as the original did. The search proposes by TPE and stops by
successive halving, or as `--searcher` and `--scheduler` say, with the space and the rungs that come with
Themo; its own code decides, trial after trial in one process, so that what is counted is what it decides and
not how many workers there are. The trusted settings of `first` are left out: they would give the search the
answer.

What random search of 32 settings finds is a matter of luck, so more are trained, and the bar is the median
of the best over many choices of 32.

    python -m benchmarks search_efficiency
    python -m benchmarks search_efficiency --scheduler pausing-asha --search-seeds 0 2
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.measure import Goal, Options, Row
from benchmarks.random_settings import RandomRun, collect
from themo import config
from themo.preparation import prepare_data
from themo.progress import console, track
from themo.training import HIGHER_IS_BETTER, Report, train
from tune.proposals import propose
from tune.schedulers import Scheduler, scheduler_of
from tune.space import Space
from tune.space import load as load_space
from tune.study import State, Study, Trial

SETTINGS, TRAINED = 32, 40
WITHOUT_END = 1_000_000
CHOICES = 10_000
GIVE_UP = 0.3
"""A search that needs more of random search's epochs than this misses the goal, by however much."""
LOG = Path("logs/bench/random_settings.jsonl")


@dataclass(frozen=True)
class Outcome:
    """Where a search stood when it was over.

    Attributes:
        best: The best objective.
        epochs: Spent, over all trials.
        trials: Begun.
    """

    best: float
    epochs: float
    trials: int


class Stopped(Exception):  # noqa: N818 -- no error: a decision
    """A trial is not to go on, or not yet."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state: State = state


def run(options: Options) -> list[Row]:
    """One row: the median share over the seeds of the search."""
    settings = config.load()
    bar, spent = random_search(collect(TRAINED, 1, settings, LOG), settings)
    space = replace(load_space(config.space_path(), settings), first=()).searched_by(**options.search)
    seeds, outcomes = options.search_seeds, []
    with (
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
        track("Searching", len(seeds), "searches") as advance,
    ):
        for outcome in pool.map(partial(search, space, settings, bar, spent), seeds):
            outcomes.append(outcome)
            advance(1)
    shares = [o.epochs / spent if o.best >= bar else math.inf for o in outcomes]
    told = ", ".join(f"{o.best:.4f} after {o.epochs:.1f} epochs of {o.trials} trials" for o in outcomes)
    return [
        Row(
            f"search ({space.search.searcher}, {space.search.scheduler}): epochs until random search's best "
            f"{settings.objective}",
            statistics.median(shares),
            "of random's",
            Goal(0.25, "<"),
            (min(shares), max(shares)),
            f"{SETTINGS} random settings to their ends: {spent:.0f} epochs, median best {bar:.4f}; "
            f"searches: {told}",
            tuple(seeds),
        )
    ]


def random_search(runs: list[RandomRun], settings: config.Settings) -> tuple[float, float]:
    """Median best of `SETTINGS` random settings and the epochs that they take."""
    bests = np.array([run.best(settings.objective) for run in runs])
    random = np.random.default_rng(0)
    found = [bests[random.choice(len(bests), SETTINGS, replace=False)].max() for _ in range(CHOICES)]
    return float(np.median(found)), SETTINGS * settings.training.epochs


def search(space: Space, settings: config.Settings, bar: float, budget: float, seed: int) -> Outcome:
    """Search until the objective reaches the bar, or is given up."""
    console.quiet = True
    space = space.searched_by(seed=seed, num_samples=WITHOUT_END)
    best, epochs, trials = 0.0, 0.0, 0
    for trials, value, epochs in progress(space, settings):  # noqa: B007 -- read after the loop
        best = max(best, value)
        if best >= bar or epochs >= GIVE_UP * budget:
            break
    return Outcome(best, epochs, trials)


def progress(space: Space, settings: config.Settings) -> Iterator[tuple[int, float, float]]:
    """Trials begun, a trial's best objective and all epochs spent, after every trial; without end."""
    mode = "max" if HIGHER_IS_BETTER[settings.objective] else "min"
    data = prepare_data(settings)
    study, scheduler = Study(None, mode), scheduler_of(space.search)
    epochs = 0.0
    with tempfile.TemporaryDirectory() as folder:
        while True:
            paused = scheduler.next_paused(study)
            trial = study.add(propose(space, study)) if paused is None else study.resume(paused)
            judge = _Judge(study, scheduler, trial, settings.objective, Path(folder))
            before = judge.epochs
            try:
                resume = Path(trial.checkpoint) if trial.checkpoint else None
                train(settings.override(trial.params), data, report=judge, resume=resume)
                study.finish(trial.number, "COMPLETE")
            except Stopped as stopped:
                study.finish(trial.number, stopped.state)
            except FloatingPointError as error:
                study.finish(trial.number, "FAIL", str(error))
            epochs += judge.epochs - before
            yield len(study), trial.best(mode) or 0.0, epochs


class _Judge:
    """Enters a trial's reports and stops or pauses it, as the scheduler of a search does."""

    def __init__(
        self, study: Study, scheduler: Scheduler, trial: Trial, objective: str, folder: Path
    ) -> None:
        self._study = study
        self._scheduler = scheduler
        self._trial = trial
        self._objective = objective
        self._version = folder / str(trial.number)
        self.epochs = trial.metrics.get("epoch", 0.0)

    def __call__(self, report: Report) -> None:
        trial = self._trial
        before = trial.pairs_seen
        self._study.report(trial.number, report.metrics, self._objective)
        self.epochs = report.metrics["epoch"]
        state = "RUNNING" if report.is_last else self._scheduler.judge(self._study, trial.number, before)
        if state == "RUNNING":
            return
        if state == "PAUSED":
            report.save(self._version)
            trial.checkpoint, trial.checkpoint_pairs = str(self._version), trial.pairs_seen
        raise Stopped(state)
