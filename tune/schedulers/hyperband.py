"""HyperBand: several successive halvings side by side, some of which judge their trials later.

Li et al., 2016, https://arxiv.org/abs/1603.06560, with asynchronous brackets as in Li et al., 2018: bracket b
has its rungs at r * eta^(b + k) pairs, and a trial is compared with those of its own bracket only. How many
trials a bracket gets follows from the paper's budget, the same for each bracket; which one a trial belongs to
follows from its number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from tune.schedulers.asha import judge_at_rung
from tune.schedulers.rungs import Rungs
from tune.schedulers.scheduler import Scheduler
from tune.study.study import Study
from tune.study.trial_record import State


@dataclass(frozen=True)
class HyperBand(Scheduler):
    """Brackets of the stopping form.

    Attributes:
        rungs: Those of the first bracket, which stops soonest.
        brackets: How many there are.
    """

    rungs: Rungs
    brackets: int

    def rungs_of(self, number: int) -> Rungs:
        """Where a trial is judged."""
        bracket = bracket_of(number, self.brackets, self.rungs.factor)
        return Rungs(self.rungs.first * self.rungs.factor**bracket, self.rungs.factor)

    def is_judged(self, number: int, before: int, pairs: int) -> bool:
        """Whether there is a rung of the trial's bracket between two reports."""
        return self.rungs_of(number).between(before, pairs) is not None

    def judge(self, study: Study, number: int, before: int) -> State:
        """PRUNED at a rung unless among the best of its bracket there."""
        rungs = self.rungs_of(number)
        rivals = (trial for trial in study if self.rungs_of(trial.number) == rungs)
        return judge_at_rung(rungs, study, rivals, number, before)


@cache
def bracket_of(number: int, brackets: int, factor: float) -> int:
    """A trial's bracket: the one furthest behind its share; of equal ones, the one that stops sooner."""
    cycle = _cycle(brackets, factor)
    return cycle[number % len(cycle)]


@cache
def _cycle(brackets: int, factor: float) -> tuple[int, ...]:
    # n of the paper: a bracket with s more rungs than the last has eta^s / (s + 1) times its trials
    further = [brackets - 1 - bracket for bracket in range(brackets)]
    shares = [math.ceil(brackets * factor**s / (s + 1)) for s in further]
    cycle: list[int] = []
    for _ in range(sum(shares)):
        filled = [(cycle.count(bracket) + 0.5) / share for bracket, share in enumerate(shares)]
        cycle.append(filled.index(min(filled)))
    return tuple(cycle)
