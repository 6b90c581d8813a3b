"""Epochs that the search needs to reach the result of random search without early stopping.

Random search trains every setting to its end, as the original did. The search uses TPE and successive
halving, or the given `--searcher` and `--scheduler`, with the shipped space and rungs. It runs the product's
own code, one trial after the other in one process, so the result does not depend on the number of workers.
The trusted settings of `first` are left out, because they would give the search the answer.

    python -m benchmarks search_efficiency
    python -m benchmarks search_efficiency --scheduler pausing-asha --search-seeds 0 2
"""

from __future__ import annotations

import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.cached_results import other_commits
from benchmarks.course import GIVE_UP, LOG, SETTINGS, TRAINED, Course, Target, random_search
from benchmarks.measure import Goal, Options, Row
from benchmarks.random_settings import collect
from themo.config import settings as config
from themo.config.presets import space_path
from themo.data.preparation import prepare_data
from themo.process.progress import silence, track
from themo.training.loop import Report, train
from tune.schedulers.decisions import decide
from tune.schedulers.rules import scheduler_of
from tune.schedulers.scheduler import Scheduler
from tune.searchers.by_name import propose
from tune.space.search_space import Space
from tune.space.search_space import load as load_space
from tune.study.study import Study
from tune.study.trial_record import State, Trial

WITHOUT_END = 1_000_000


class Stopped(Exception):  # noqa: N818 -- a decision, not an error
    """A trial is stopped or paused."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state: State = state


def run(options: Options) -> list[Row]:
    """A row with the median share of epochs over the seeds of the search; no row without seeds."""
    seeds, courses = options.search_seeds, []
    if not seeds:
        return []
    settings = config.load()
    runs = collect(TRAINED, 1, settings, LOG)
    bar, spent = random_search(runs, settings)
    space = without_first(settings).searched_by(**options.search)
    with (
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
        track("Searching", len(seeds), "searches") as advance,
    ):
        for course in pool.map(partial(search, space, settings, Target(bar, GIVE_UP * spent)), seeds):
            courses.append(course)
            advance(1)
    shares = [course.until / spent for course in courses]
    return [
        Row(
            f"search ({space.search.searcher}, {space.search.scheduler}): epochs until random search's best "
            f"{settings.objective}",
            statistics.median(shares),
            "of random's",
            Goal(0.25, "<"),
            (min(shares), max(shares)),
            f"{SETTINGS} random settings trained to the end: {spent:.0f} epochs, median best {bar:.4f}"
            f"{other_commits(runs)}; searches: {', '.join(map(str, courses))}",
            tuple(seeds),
        )
    ]


def without_first(settings: config.Settings) -> Space:
    """The shipped search space without trusted settings."""
    return replace(load_space(space_path(), settings), first=())


@silence()
def search(space: Space, settings: config.Settings, target: Target, seed: int) -> Course:
    """Search with the space's searcher and scheduler until the target is reached or missed."""
    space = space.searched_by(seed=seed, num_samples=WITHOUT_END)
    data = prepare_data(settings)
    space = space.for_trials(settings.training.epochs * data.pairs_an_epoch)
    study, scheduler, course = Study(None, "max"), scheduler_of(space.search, space), Course(target)
    with tempfile.TemporaryDirectory() as folder:
        while not course.is_over:
            paused = scheduler.next_paused(study)
            trial = study.add(propose(space, study)) if paused is None else study.resume(paused)
            judge = _Judge(study, scheduler, space, trial, settings.objective, course, Path(folder))
            try:
                resume = Path(trial.checkpoint) if trial.checkpoint else None
                train(settings.override(trial.params), data, report=judge, resume=resume)
                study.finish(trial.number, "COMPLETE")
            except Stopped as stopped:
                study.finish(trial.number, stopped.state)
            except FloatingPointError as error:
                study.finish(trial.number, "FAIL", str(error))
    return course


class _Judge:
    """Records a trial's reports and stops or pauses the trial as the scheduler decides."""

    def __init__(
        self,
        study: Study,
        scheduler: Scheduler,
        space: Space,
        trial: Trial,
        objective: str,
        course: Course,
        folder: Path,
    ) -> None:
        self._study = study
        self._decide = partial(decide, scheduler, space)
        self._trial = trial
        self._objective = objective
        self._course = course
        self._version = folder / str(trial.number)

    def __call__(self, report: Report) -> None:
        trial = self._trial
        before = trial.pairs_seen
        self._study.report(trial.number, report.metrics, self._objective)
        self._course.enter(trial.number, report.metrics["epoch"], report.metrics[self._objective])
        if self._course.is_over:
            raise Stopped("PRUNED")
        if report.is_last:
            return
        state = self._decide(self._study, trial.number, before).state
        if state == "RUNNING":
            return
        if state == "PAUSED":
            report.save(self._version)
            trial.checkpoint, trial.checkpoint_pairs = str(self._version), trial.pairs_seen
        raise Stopped(state)
