"""Adapter of the record to Ray Tune: a searcher that suggests trials and records their ends.

Ray's own OptunaSearch reports a stopped trial to Optuna as complete and leaves a diverged one running for
ever. This adapter keeps all state in the record (`tune.study.study`) and holds only the state of the Ray
session, as `tune.driver.scheduler` does. To Ray, a paused trial has ended, and its continuation from the
checkpoint is a new trial. Interrupted trials, and trials whose worker died, resume in the same way, so that
no state lives in Ray alone. (Ray's own recovery counts a worker that dies between two trials as two deaths of
the next trial, and gives that trial up.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from themo.process.progress import console
from tune.schedulers.decisions import at_the_end
from tune.schedulers.population import take_over
from tune.schedulers.rules import scheduler_of
from tune.searchers.by_name import propose
from tune.space.search_space import Space
from tune.study.limits import wants_more
from tune.study.resource import progress_in_words
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.worker.work import configuration


class StudySearcher(Searcher):  # type: ignore[misc]  # Ray has no types
    """Suggests interrupted trials first, then promoted paused trials, then new ones.

    At most one trial a slot runs at a time. When all trials are done, those still paused are stopped.

    Args:
        space: The search space.
        study: The record.
        slots: Returns the current number of slots.
        share: Returns the current number of GPUs, or fraction of a GPU, for a trial that starts or resumes
            after a pause. A trial that ran out of memory gets at least its `least_gpus`.
        draw: Adds the next new trial to the record; returns None if no trial can start now. Left out: the
            space's searcher proposes it.
        is_share_open: Whether an interrupted trial gets the current share too, instead of its previous one:
            the number of GPUs may have changed.
    """

    def __init__(
        self,
        space: Space,
        study: Study,
        slots: Callable[[], int],
        share: Callable[[], float] = lambda: 0.0,
        draw: Callable[[], Trial | None] | None = None,
        *,
        is_share_open: bool = False,
    ) -> None:
        super().__init__()
        self._space = space
        self._study = study
        self._slots = slots
        self._share = share
        self._draw = draw or self._propose
        self._is_share_open = is_share_open
        self._scheduler = scheduler_of(space.search, space)
        self._interrupted = [trial.number for trial in study if trial.state == "RUNNING"]
        self._deaths: dict[int, tuple[int, int]] = {}
        self.numbers: dict[str, int] = {}
        """Number of each running trial by Ray's id."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's configuration; None while all slots are busy or no trial can start yet."""
        if self._places_taken() + 1 > self._slots() + 1e-6:
            return None
        if self._interrupted:
            trial = self._study[self._interrupted.pop(0)]
        elif (number := self._scheduler.next_paused(self._study)) is not None:
            donor = self._scheduler.donor(self._study, number)
            if donor is not None:
                take_over(self._space, self._study, number, donor)
            trial = self._study.resume(number)
            trial.gpus = max(self._share(), trial.least_gpus)
        elif (drawn := self._draw()) is not None:
            trial = drawn
        elif self.numbers:
            return None
        else:
            self._stop_waiting()
            return str(Searcher.FINISHED)
        self.numbers[trial_id] = trial.number
        if trial.gpus is None or self._is_share_open:
            trial.gpus = self._share()
        return configuration(trial)

    def _propose(self) -> Trial | None:
        if not wants_more(self._study, self._space):
            return None
        return self._study.add(propose(self._space, self._study))

    def _places_taken(self) -> float:
        """Slots used by the running trials; a trial with a larger share of a GPU uses several slots.

        A trial without a GPU, started before the cluster had any, uses none of the slots counted by GPU.
        """
        share = self._share()
        running = [self._study[number].gpus or 0.0 for number in self.numbers.values()]
        if not share:
            return float(len(running))
        return sum(max(1.0, gpus / share) for gpus in running if gpus)

    def _stop_waiting(self) -> None:
        for trial in self._study:
            if trial.state == "PAUSED":
                why = at_the_end(self._study, self._space, trial.number).line
                at = progress_in_words(trial, self._space.search.resource)
                self._study.finish(trial.number, "PRUNED", f"stopped at {at}", why)

    def on_trial_complete(self, trial_id: str, error: bool = False, **_: object) -> None:
        """Record that a trial ended or is paused.

        A trial to retry, such as one whose worker died, is suggested next.
        """
        number = self.numbers.pop(trial_id, None)
        if number is None:  # already recorded
            return
        trial = self._study[number]
        deaths = self._count_death(trial) if error else 0
        if error and deaths <= self._space.search.max_failures:
            self._study.rewind(number)
            self._interrupted.insert(0, number)
            _print_retry(trial)
        elif trial.verdict == "RUNNING" and not error:
            self._study.retry(number)
            self._interrupted.append(number)
        else:
            self._study.finish(number, "FAIL" if error else trial.verdict or "FAIL")

    def _count_death(self, trial: Trial) -> int:
        """Count a worker death; return the number of deaths since the trial's last checkpoint."""
        pairs, deaths = self._deaths.get(trial.number, (0, 0))
        deaths = deaths + 1 if pairs == trial.checkpoint_pairs else 1
        self._deaths[trial.number] = trial.checkpoint_pairs, deaths
        return deaths

    def save(self, checkpoint_path: str) -> None:
        """Nothing: all state is in the study."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: all state is in the study."""


def _print_retry(trial: Trial) -> None:
    """Print that a trial is retried after its worker's death; its reason is recorded by the scheduler."""
    name = f"Trial {trial.number}" if trial.confirms is None else f"Confirmation of trial {trial.confirms}"
    start = f"{trial.checkpoint_pairs:,} pairs" if trial.checkpoint_pairs else "its start"
    console.print(f"{name}: {trial.reason or 'its worker was lost'}, retried from {start}", soft_wrap=True)
