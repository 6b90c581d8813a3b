"""Ray Tune's OptunaSearch with ASHA, and TuneBOHB with HyperBandForBOHB.

The searchers and schedulers are Ray's, called in the order of its `TuneController`; no cluster is started.
Time is `training_iteration`, a report counted from 1. ASHA has the reduction factor 3 of Ray's user guide
and a grace period of one report, the default. BOHB has the defaults, and the limit of concurrent trials of
its example.

TuneBOHB needs HpBandSter 0.7.4, which needs netifaces 0.11.0. netifaces has no wheel for Python 3.11 and
needs a C compiler. The extra `peers` leaves both out; `pip install hpbandster==0.7.4` adds them if a compiler
is installed.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, HyperBandForBOHB, TrialScheduler
from ray.tune.search.bohb import TuneBOHB
from ray.tune.search.optuna import OptunaSearch

from benchmarks.random_settings import FIRST_PEER_SEED
from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.peers.places import config_space, params_of
from benchmarks.searches.peers.randomness import OwnRandomness
from benchmarks.searches.replay import Job, Method
from tune.searchers.distributions import distributions_of
from tune.space.dimensions import Scalar
from tune.space.search_space import Space

METRIC, TIME = "objective", "training_iteration"


class _Trial:
    """The part of Ray's trial that schedulers use."""

    def __init__(self, number: int, params: dict[str, Scalar]) -> None:
        self.trial_id, self.params = str(number), params
        self.status, self.is_saving = Trial.PENDING, False
        self.pairs, self.n_reports = 0, 0


class RayMethod(Method):
    """A searcher and a scheduler of Ray Tune.

    The object replaces Ray's controller, too: schedulers call it for the trials and to stop one.

    Args:
        space: The search space.
        searcher: Proposes settings.
        scheduler: Stops and pauses trials.
        randomness: Random states of the process, from which some of them draw.
        has_places: Whether proposals are places (see `places`).
    """

    def __init__(
        self, space: Space, searcher: Any, scheduler: Any, randomness: OwnRandomness, *, has_places: bool
    ) -> None:
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        self._space, self._searcher, self._scheduler = space, searcher, scheduler
        self._randomness, self._has_places = randomness, has_places
        self._trials: list[_Trial] = []
        self.search_alg = SimpleNamespace(searcher=searcher)

    def get_trials(self) -> list[_Trial]:
        """All trials, in the form of Ray's controller."""
        return self._trials

    def stop_trial(self, trial: _Trial, result: dict[str, Any] | None = None) -> None:
        """Stop a trial as Ray's controller does: a running one with its last result."""
        if trial.status == Trial.RUNNING:
            self._scheduler.on_trial_complete(self, trial, result)
            self._searcher.on_trial_complete(trial.trial_id, result=result)
        elif trial.status in (Trial.PENDING, Trial.PAUSED):
            self._scheduler.on_trial_remove(self, trial)
            self._searcher.on_trial_complete(trial.trial_id)
        trial.status = Trial.TERMINATED

    def ask(self) -> Job | None:
        """The trial that the scheduler chooses; a proposal waits whenever the searcher gives one."""
        with self._randomness.in_force():
            if not any(trial.status == Trial.PENDING for trial in self._trials):
                self._add()
            chosen = self._scheduler.choose_trial_to_run(self)
        if chosen is None:
            return None
        chosen.status = Trial.RUNNING
        return Job(int(chosen.trial_id), chosen.params, chosen.pairs)

    def _add(self) -> None:
        number = len(self._trials)
        found = self._searcher.suggest(str(number))
        if found is not None:
            params = params_of(self._space, found) if self._has_places else dict(found)
            self._trials.append(_Trial(number, params))
            self._scheduler.on_trial_add(self, self._trials[-1])

    def report(self, trial: int, pairs: int, value: float, *, is_last: bool) -> bool:
        """Report, and follow the scheduler's decision."""
        running = self._trials[trial]
        running.pairs, running.n_reports = pairs, running.n_reports + 1
        result = {METRIC: value, TIME: running.n_reports}
        with self._randomness.in_force():
            decision = self._scheduler.on_trial_result(self, running, result)
            if decision != TrialScheduler.STOP:
                self._searcher.on_trial_result(running.trial_id, result)
            if decision == TrialScheduler.PAUSE:
                running.status = Trial.PAUSED
            elif decision == TrialScheduler.STOP or is_last:
                self.stop_trial(running, result)
        return bool(decision == TrialScheduler.CONTINUE)

    def fail(self, trial: int) -> None:
        """Record a diverged trial."""
        failed = self._trials[trial]
        if failed.status == Trial.TERMINATED:
            return
        with self._randomness.in_force():
            self._scheduler.on_trial_error(self, failed)
            self._searcher.on_trial_complete(failed.trial_id, error=True)
        failed.status = Trial.ERROR


def optuna_with_asha(space: Space, seed: int, facts: Facts) -> Method:
    """OptunaSearch with ASHA."""
    searcher = OptunaSearch(
        distributions_of(space.dimensions), metric=METRIC, mode="max", seed=FIRST_PEER_SEED + seed
    )
    scheduler = ASHAScheduler(TIME, METRIC, "max", max_t=facts.n_reports, grace_period=1, reduction_factor=3)
    return RayMethod(space, searcher, scheduler, OwnRandomness(seed), has_places=False)


def bohb(space: Space, seed: int, facts: Facts) -> Method:
    """TuneBOHB with HyperBandForBOHB."""
    randomness = OwnRandomness(seed)
    with randomness.in_force():
        searcher = TuneBOHB(
            config_space(space, seed), metric=METRIC, mode="max", seed=seed, max_concurrent=facts.slots
        )
    scheduler = HyperBandForBOHB(TIME, METRIC, "max", max_t=facts.n_reports)
    return RayMethod(space, searcher, scheduler, randomness, has_places=True)
