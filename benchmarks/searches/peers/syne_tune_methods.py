"""Syne Tune's ASHA, BOHB and ASHACQR.

All use their defaults, except for one of BOHB's: first rung after one report, reduction factor 3, one
bracket. Time is a report, counted from 1, as the documentation counts epochs; `max_t` is the number of
reports of a whole training.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from itertools import count
from typing import Any

from syne_tune import config_space as domains
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer import baselines
from syne_tune.optimizer.scheduler import SchedulerDecision, TrialScheduler

from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.peers.randomness import OwnRandomness
from benchmarks.searches.replay import Job, Method
from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange
from tune.space.search_space import Space

METRIC, TIME = "objective", "reports"


class SyneTuneMethod(Method):
    """A scheduler of Syne Tune, called as its `Tuner` does.

    Args:
        scheduler: The scheduler; it draws from the random state of the process, too.
        randomness: Random state of the process.
    """

    def __init__(self, scheduler: TrialScheduler, randomness: OwnRandomness) -> None:
        self._scheduler, self._randomness = scheduler, randomness
        self._numbers = count()
        self._trials: dict[int, Trial] = {}
        self._n_reports: dict[int, int] = {}

    def ask(self) -> Job | None:
        """A new trial; None if the scheduler has no more."""
        with self._randomness.in_force():
            suggestion = self._scheduler.suggest()
            if suggestion is None:
                return None
            trial = Trial(next(self._numbers), suggestion.config, datetime.now(UTC))
            self._scheduler.on_trial_add(trial)
        self._trials[trial.trial_id], self._n_reports[trial.trial_id] = trial, 0
        return Job(trial.trial_id, dict(trial.config))

    def report(self, trial: int, pairs: int, value: float, *, is_last: bool) -> bool:  # noqa: ARG002
        """Report, and follow the decision."""
        self._n_reports[trial] += 1
        result = {METRIC: value, TIME: self._n_reports[trial]}
        with self._randomness.in_force():
            decision = self._scheduler.on_trial_result(self._trials[trial], result)
            if decision == SchedulerDecision.STOP:
                self._scheduler.on_trial_remove(self._trials[trial])
            elif is_last:
                self._scheduler.on_trial_complete(self._trials[trial], result)
        return bool(decision == SchedulerDecision.CONTINUE)

    def fail(self, trial: int) -> None:
        """Record a diverged trial."""
        with self._randomness.in_force():
            self._scheduler.on_trial_error(self._trials[trial])


def _domain(dimension: Dimension) -> Any:
    match dimension:
        case Choice(choices=choices):
            return domains.choice(list(choices))
        case FloatRange(low=low, high=high, log=log):
            return (domains.loguniform if log else domains.uniform)(low, high)
        case IntRange(low=low, high=high, log=True):
            return domains.lograndint(low, high)
        case IntRange(low=low, high=high, step=step):
            return domains.finrange(low, high, (high - low) // step + 1, cast_int=True)


def _method(name: str, space: Space, seed: int, facts: Facts, **options: int) -> Method:
    logging.getLogger("syne_tune").setLevel(logging.ERROR)  # it warns about its own arguments
    randomness = OwnRandomness(seed)
    with randomness.in_force():
        scheduler = getattr(baselines, name)(
            {name: _domain(dimension) for name, dimension in space.dimensions.items()},
            metric=METRIC,
            time_attr=TIME,
            max_t=facts.n_reports,
            do_minimize=False,
            random_seed=seed,
            **options,
        )
    return SyneTuneMethod(scheduler, randomness)


def asha(space: Space, seed: int, facts: Facts) -> Method:
    """Random settings with asynchronous successive halving."""
    return _method("ASHA", space, seed, facts)


def bohb(space: Space, seed: int, facts: Facts) -> Method:
    """Kernel density estimators with asynchronous successive halving.

    A model needs one good trial more than there are settings, as in BOHB's paper. With the default, one
    fewer, the model is not used before the 94th trial of 13 settings
    (`findings/syne-tune-bohb-stays-random.sh`).
    """
    return _method("BOHB", space, seed, facts, num_min_data_points=len(space.dimensions) + 1)


def ashacqr(space: Space, seed: int, facts: Facts) -> Method:
    """Conformal quantile regression with asynchronous successive halving."""
    return _method("ASHACQR", space, seed, facts)
