"""The median stopping rule of Google Vizier, applied at equal intervals.

Golovin et al., 2017, https://dl.acm.org/doi/10.1145/3097983.3098043, section 3.2.2: a trial is stopped when
its best so far is worse than the median of the other trials' running averages up to the same point.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from tune.schedulers.explanation import NOT_FINITE, Explanation, or_better, rank_among
from tune.schedulers.rungs import Interval
from tune.schedulers.scheduler import Scheduler, rivals_in
from tune.space.search_settings import Resource
from tune.study.resource import amount_of, curve_of, in_words
from tune.study.study import Study
from tune.study.trial_record import State, Trial, loss_of

MIN_OTHERS = 3
"""Minimum number of other trials for a decision; assumption, since the paper names no number."""


@dataclass(frozen=True)
class Median(Scheduler):
    """The median stopping rule; a checkpoint is written at each judgement too.

    Attributes:
        points: Interval between judgements, in the resource.
        resource: The counted resource.
    """

    points: Interval
    resource: Resource = "pairs"

    def explain(self, study: Study, number: int, before: float) -> Explanation:
        """PRUNED if the best so far is worse than the median, or if no report was finite yet."""
        trial = study[number]
        pairs, now = trial.pairs_seen, amount_of(trial, self.resource)
        if not self.is_judged(number, before, now):
            return Explanation("RUNNING", pairs)
        averages = {
            other.number: average
            for other in rivals_in(study)
            if other.number != number and (average := running_average(other, now, self.resource)) is not None
        }
        best, where = trial.best(study.mode), f"report after {in_words(now, self.resource)}"
        if best is None:
            return Explanation("PRUNED", pairs, where, None, averages, rule=NOT_FINITE)
        rank = rank_among(best, averages, study.mode)
        if len(averages) < MIN_OTHERS:
            rule = (
                f"every trial continues until {MIN_OTHERS} others have reached this point, "
                f"{len(averages)} have"
            )
            return Explanation("RUNNING", pairs, where, best, averages, rank, rule=rule)
        median = statistics.median(averages.values())
        is_worse = loss_of(best, study.mode) > loss_of(median, study.mode)
        needed = or_better(median, study.mode)
        rule = f"a trial continues with {needed}, the median of {len(averages)} others' averages"
        state: State = "PRUNED" if is_worse else "RUNNING"
        return Explanation(state, pairs, where, best, averages, rank, median, rule)


def running_average(trial: Trial, amount: float, resource: Resource = "pairs") -> float | None:
    """Mean of a trial's reports up to an amount of the resource; None if the trial has not reached it."""
    curve = curve_of(trial, resource)
    if not curve or max(curve) < amount:
        return None
    values = [value for at, value in curve.items() if at <= amount]
    if not values:
        return None
    # rounding must not lift the mean of equal values above them: equal trials do not stop each other
    return min(max(statistics.fmean(values), min(values)), max(values))
