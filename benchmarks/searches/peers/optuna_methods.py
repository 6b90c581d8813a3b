"""Optuna's TPE with three of its pruners.

Its documentation recommends, in the tutorial on pruning, Hyperband for TPE; the median pruner is the default.
TPE has its defaults, multivariate with a constant liar. A step is a report, counted from 1. A full
training reports its best value, that of the kept student.
"""

from __future__ import annotations

import warnings
from statistics import fmean

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, WilcoxonPruner
from optuna.trial import TrialState

from benchmarks.random_settings import FIRST_PEER_SEED
from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.replay import Job, Method
from tune.searchers.distributions import distributions_of
from tune.space.search_space import Space


class OptunaMethod(Method):
    """A study with a pruner.

    Args:
        space: The search space.
        seed: Seed of the sampler, plus `FIRST_PEER_SEED`, and part of the study's name, by which Hyperband
            draws brackets.
        pruner: The pruner.
        is_of_means: Whether the value of a trial, a pruned one too, is the mean of its reports.
    """

    def __init__(self, space: Space, seed: int, pruner: BasePruner, *, is_of_means: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions = distributions_of(space.dimensions)
        self._is_of_means = is_of_means
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=FIRST_PEER_SEED + seed),
            pruner=pruner,
            study_name=f"replay-{seed}",
        )
        self._trials: dict[int, optuna.Trial] = {}
        self._values: dict[int, list[float]] = {}

    def ask(self) -> Job:
        """A new trial."""
        trial = self._study.ask(self._distributions)
        self._trials[trial.number], self._values[trial.number] = trial, []
        return Job(trial.number, trial.params)

    def report(self, trial: int, pairs: int, value: float, *, is_last: bool) -> bool:  # noqa: ARG002
        """Report, and ask the pruner."""
        values = self._values[trial]
        values.append(value)
        self._trials[trial].report(value, len(values))
        if is_last:
            self._study.tell(trial, fmean(values) if self._is_of_means else max(values))
        elif not self._trials[trial].should_prune():
            return True
        elif self._is_of_means:
            self._study.tell(trial, fmean(values))
        else:
            self._study.tell(trial, state=TrialState.PRUNED)
        return False

    def fail(self, trial: int) -> None:
        """Record a diverged trial, unless it was pruned at its last report."""
        self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)


def with_hyperband(space: Space, seed: int, facts: Facts) -> Method:
    """TPE with Hyperband from the first report to the last, and reduction factor 3, as in its example."""
    pruner = HyperbandPruner(min_resource=1, max_resource=facts.n_reports, reduction_factor=3)
    return OptunaMethod(space, seed, pruner)


def with_median(space: Space, seed: int, facts: Facts) -> Method:  # noqa: ARG001
    """TPE with the median pruner at its defaults."""
    return OptunaMethod(space, seed, MedianPruner())


def with_wilcoxon(space: Space, seed: int, facts: Facts) -> Method:  # noqa: ARG001
    """TPE with the Wilcoxon pruner at its defaults.

    The pruner is documented for means over instances in random order, not for learning curves. Here an
    instance is a report, and the value of a trial is the mean of its reports, even if the pruner stops it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return OptunaMethod(space, seed, WilcoxonPruner(), is_of_means=True)
