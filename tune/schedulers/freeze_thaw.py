"""Freeze-thaw search: each report compares the paused trials, and a new one, by their promise.

Swersky et al., 2014, https://arxiv.org/abs/1406.3896, with the forecasts of `tune.forecasts`. The promise of
a trial is its expected gain over the best objective so far, divided by the pairs that it still needs. A trial
pauses as soon as another one, or a new one, promises more. It resumes when it promises most. When no more
trials start, those that will hardly end best stay paused, and the best trial is trained to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tune.forecasts.forecasts import Forecasts, are_possible, forecasts_of
from tune.schedulers.explanation import NOT_FINITE, Explanation, Forecast
from tune.schedulers.rungs import Interval
from tune.schedulers.scheduler import Scheduler
from tune.space.search_space import Space
from tune.study.limits import starts_another
from tune.study.study import Study
from tune.study.trial_record import State, is_waiting

LEAST_CHANCE = 0.05
"""Least chance of ending best with which a paused trial resumes once no more trials start. A lower one trains
more pairs and loses a few best trials less (docs/experiments/forecasts-in-searches.md)."""
_REACH = 2.92
"""Half the width of an interval of probability 0.9, in standard deviations: Student's t with two degrees of
freedom instead of a normal distribution, since the process is fitted to few trials. EXPERIMENTS.md gives the
measured coverage of such intervals. The chance of ending best is that of the normal distribution."""


class _Next(NamedTuple):
    """The waiting trial to train next, and the reason.

    Attributes:
        number: The trial; None: a new trial starts, if any is left.
        rule: The reason, as a clause.
    """

    number: int | None
    rule: str


@dataclass(frozen=True)
class FreezeThaw(Scheduler):
    """The scheduler of freeze-thaw search.

    Attributes:
        points: Interval between judgements, in sentence pairs.
        space: The search space; None for workers, which only ask whether a report is judged.
        most: Returns the maximum number of trials (`tune.study.tried.most_trials`); None: `num_samples`.
    """

    points: Interval
    space: Space | None = None
    most: Callable[[Study], int] | None = None

    def explain(self, study: Study, number: int, before: float) -> Explanation:
        """RUNNING if the trial promises most, else PAUSED; PRUNED if no report was finite."""
        trial = study[number]
        if not self.is_judged(number, before, trial.pairs_seen):
            return Explanation("RUNNING", trial.pairs_seen)
        if not trial.values:
            return Explanation("PRUNED", trial.pairs_seen, _where(trial.pairs_seen), rule=NOT_FINITE)
        following = self._next(study, number)
        state: State = "RUNNING" if following.number == number else "PAUSED"
        return replace(self._place(study, number, following, number), state=state)

    def explain_waiting(self, study: Study, number: int) -> Explanation:
        """A paused trial's forecast, and its rank among the paused trials."""
        return self._place(study, number, self._next(study, None), None)

    def next_paused(self, study: Study) -> int | None:
        """The paused trial that promises most; None if a new one promises more, or none promises enough."""
        return self._next(study, None).number

    def forecast(self, study: Study, number: int) -> Forecast | None:
        """The predicted best objective of a trial at its end, with an interval of probability 0.9."""
        if self.space is None or not study[number].values or not are_possible(study):
            return None
        return _forecast(forecasts_of(self.space, study), study, number)

    def _next(self, study: Study, arriving: int | None) -> _Next:
        """The trial to train next; `arriving` has just reported and counts as paused."""
        space = self._space()
        waiting = _waiting(study, arriving)
        most = space.search.num_samples if self.most is None else self.most(study)
        n_startup = min(space.search.startup_trials, most)
        is_another_due = starts_another(study, space.search, most)
        if is_another_due and len(study) < n_startup:
            return _Next(None, f"{n_startup} trials start before any continues")
        if not waiting:
            return _Next(None, "no trial is waiting")
        if not are_possible(study):
            return _Next(waiting[0], "a forecast needs two trials")
        found = forecasts_of(space, study, arriving)
        if is_another_due:
            first = _most_promising(found, waiting)
            if found.ends[first].gain < found.best_new.gain:
                return _Next(None, "a new trial has a larger expected gain per pair")
            return _Next(first, f"trial {first} has the largest expected gain per pair")
        hopeful = [number for number in waiting if found.ends[number].chance >= LEAST_CHANCE]
        if hopeful:
            first = _most_promising(found, hopeful)
            return _Next(first, f"trial {first} has the largest expected gain per pair")
        leader = study.scored_leader()
        is_any_running = any(trial.state == "RUNNING" and trial.number != arriving for trial in study)
        if leader is not None and leader.number in waiting and not is_any_running:
            return _Next(leader.number, f"the best trial, {leader.number}, is trained to its end")
        return _Next(None, f"no waiting trial has a chance of {100 * LEAST_CHANCE:g} % to end best")

    def _place(self, study: Study, number: int, following: _Next, arriving: int | None) -> Explanation:
        """A trial's rank among the waiting trials, by the forecast gain of its further training."""
        trial = study[number]
        place = Explanation(
            trial.state,
            trial.pairs_seen,
            _where(trial.pairs_seen),
            trial.best(study.mode),
            rule=following.rule,
        )
        if not trial.values or not are_possible(study):
            return place
        found = forecasts_of(self._space(), study, arriving)
        ranked = sorted({*_waiting(study, arriving), number}, key=lambda n: (-found.ends[n].gain, n))
        return replace(
            place,
            compared={other: _forecast(found, study, other).value for other in ranked if other != number},
            rank=ranked.index(number) + 1,
            forecast=_forecast(found, study, number),
            chance=found.ends[number].chance,
        )

    def _space(self) -> Space:
        if self.space is None:
            raise ValueError("a scheduler without a search space cannot decide")
        return self.space


def _waiting(study: Study, arriving: int | None) -> list[int]:
    """The trials that may continue; a trial without a report cannot be forecast."""
    return [
        trial.number for trial in study if trial.values and (trial.number == arriving or is_waiting(trial))
    ]


def _most_promising(found: Forecasts, numbers: list[int]) -> int:
    """The trial with the largest expected gain a pair; of equals the earlier one."""
    return max(numbers, key=lambda number: (found.ends[number].gain, -number))


def _where(pairs: int) -> str:
    return f"report of {pairs:,} pairs"


def _forecast(found: Forecasts, study: Study, number: int) -> Forecast:
    """The predicted end as an objective, at least the best so far, whose student is kept."""
    (mean, deviation), best = found.predicted[number], study[number].best(study.mode)
    least = float(found.scale.scores(np.array([best], dtype=np.float64))[0])
    scores = (mean + sigmas * deviation for sigmas in (-_REACH, 0.0, _REACH))
    low, middle, high = (found.scale.objective(max(score, least)) for score in scores)
    return Forecast(middle, min(low, high), max(low, high))
