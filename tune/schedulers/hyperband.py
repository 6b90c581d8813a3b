"""HyperBand: several brackets of successive halving, with their first rungs at increasing budgets.

Li et al., 2016, https://arxiv.org/abs/1603.06560, with asynchronous brackets as in Li et al., 2018: bracket b
has its rungs at r * eta^(b + k), and a trial is compared with trials of its own bracket only. The paper
gives each bracket the same budget, which determines its number of trials. A trial's number determines its
bracket.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

from tune.schedulers.asha import explain_at_rung
from tune.schedulers.explanation import Explanation
from tune.schedulers.rungs import Rungs
from tune.schedulers.scheduler import Scheduler, rivals_in
from tune.study.study import Study


@dataclass(frozen=True)
class HyperBand(Scheduler):
    """HyperBand with brackets of stopping ASHA.

    Attributes:
        points: Rungs of the first bracket, which stops trials earliest.
        brackets: Number of brackets.
    """

    points: Rungs
    brackets: int

    def rungs_of(self, number: int) -> Rungs:
        """The rungs of a trial's bracket."""
        bracket = bracket_of(number, self.brackets, self.points.factor)
        return replace(self.points, first=self.points.first * self.points.factor**bracket)

    def is_judged(self, number: int, before: float, now: float) -> bool:
        """Whether a rung of the trial's bracket lies between two reports."""
        return self.rungs_of(number).between(before, now) is not None

    def explain(self, study: Study, number: int, before: float) -> Explanation:
        """PRUNED at a rung unless among the best of its bracket there."""
        rungs = self.rungs_of(number)
        rivals = (trial for trial in rivals_in(study) if self.rungs_of(trial.number) == rungs)
        found = explain_at_rung(rungs, study, rivals, number, before)
        bracket = bracket_of(number, self.brackets, self.points.factor)
        return replace(found, where=found.where and f"{found.where} in bracket {bracket}")


@cache
def bracket_of(number: int, brackets: int, factor: float) -> int:
    """A trial's bracket: the one furthest below its share of trials; ties go to the lower bracket."""
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
