"""Asynchronous successive halving (ASHA) over sentence pairs seen, in its stopping form.

Li et al., 2018, https://arxiv.org/abs/1810.05934: rungs lie at r * eta^k pairs (r is `grace_pairs`, eta
`reduction_factor`). In the stopping form, the default, a trial continues if it is among the best 1/eta of the
trials that have reached the rung so far. `tune.schedulers.pausing` is the paper's own, promoting form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tune.schedulers.rungs import Rungs
from tune.schedulers.scheduler import Scheduler
from tune.study.study import Study
from tune.study.trial_record import Mode, State, Trial, loss_of


@dataclass(frozen=True)
class Asha(Scheduler):
    """The stopping form.

    Attributes:
        rungs: Where trials are judged.
    """

    rungs: Rungs

    def is_judged(self, number: int, before: int, pairs: int) -> bool:  # noqa: ARG002 -- all trials alike
        """Whether there is a rung between two reports."""
        return self.rungs.between(before, pairs) is not None

    def judge(self, study: Study, number: int, before: int) -> State:
        """PRUNED at a rung unless among the best there, or if no report was finite yet."""
        return judge_at_rung(self.rungs, study, study.trials, number, before)


def judge_at_rung(rungs: Rungs, study: Study, rivals: Iterable[Trial], number: int, before: int) -> State:
    """RUNNING or PRUNED after a trial's last report, compared with `rivals`, which may include the trial."""
    trial = study[number]
    rung = rungs.between(before, trial.pairs_seen)
    if rung is None:
        return "RUNNING"
    results = rungs.results_at(rung, rivals, study.mode)
    others = [value for other, value in results.items() if other != number]
    best = trial.best(study.mode)
    goes_on = best is not None and is_among_best(best, others, rungs.factor, study.mode)
    return "RUNNING" if goes_on else "PRUNED"


def is_among_best(value: float, others: list[float], reduction_factor: float, mode: Mode) -> bool:
    """Whether a value is among the best 1/eta of itself and the others (rounded down, at least one).

    Equal values pass together. This counts as the paper does; Ray's ASHA compares with an interpolated
    quantile of the others, so the second best of three passes where one in three should (EXPERIMENTS.md).
    """
    n_better = sum(loss_of(other, mode) < loss_of(value, mode) for other in others)
    return n_better < max(1, math.floor((len(others) + 1) / reduction_factor))
