"""Asynchronous successive halving (ASHA) over the search's resource, in its stopping form.

Li et al., 2018, https://arxiv.org/abs/1810.05934: rungs lie at r * eta^k (r is the first rung, eta
`reduction_factor`). In the stopping form, the default, a trial continues if it is among the best 1/eta of the
trials that have reached the rung so far; failed trials do not count. `tune.schedulers.pausing` is the paper's
own, promoting form.

With two objectives the best are those of the first fronts (`tune.study.front`): MO-ASHA of Schmucker et al.,
2021, https://arxiv.org/abs/2106.12639.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tune.schedulers.explanation import NOT_FINITE, Explanation, or_better
from tune.schedulers.rungs import Rungs
from tune.schedulers.scheduler import Scheduler, rivals_in
from tune.study.front import places
from tune.study.resource import amount_of, in_words
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial, loss_of


@dataclass(frozen=True)
class Asha(Scheduler):
    """ASHA in its stopping form."""

    points: Rungs

    def explain(self, study: Study, number: int, before: float) -> Explanation:
        """PRUNED at a rung unless among the best there, or if no report was finite yet."""
        return explain_at_rung(self.points, study, rivals_in(study), number, before)


def explain_at_rung(
    rungs: Rungs, study: Study, rivals: Iterable[Trial], number: int, before: float
) -> Explanation:
    """The decision after a trial's last report, compared with `rivals`, which may include the trial."""
    trial = study[number]
    rung = rungs.between(before, amount_of(trial, rungs.resource))
    if rung is None:
        return Explanation("RUNNING", trial.pairs_seen)
    results = rungs.results_at(rung, rivals, study.mode)
    others = {other: value for other, value in results.items() if other != number}
    best, where = trial.best(study.mode), f"rung of {in_words(rung, rungs.resource)}"
    if best is None:
        return Explanation("PRUNED", trial.pairs_seen, where, None, others, rule=NOT_FINITE)
    if rungs.resource == "seconds":
        best = rungs.value(rung, trial, study.mode)
        if best is None:  # its first report came later
            return Explanation("RUNNING", trial.pairs_seen)
    quota = n_passing(len(others) + 1, rungs.factor)
    if rungs.second is not None:
        found = by_two_objectives(study, number, {**others, number: best}, quota)
        passes = found.rank is not None and found.rank <= quota
        return replace(found, state="RUNNING" if passes else "PRUNED", where=where, second=rungs.second)
    is_promoted = is_among_best(best, list(others.values()), rungs.factor, study.mode)
    losses = sorted(loss_of(value, study.mode) for value in others.values())
    threshold = loss_of(losses[quota - 1], study.mode) if len(losses) >= quota else None
    return Explanation(
        "RUNNING" if is_promoted else "PRUNED",
        trial.pairs_seen,
        where,
        best,
        others,
        bisect_left(losses, loss_of(best, study.mode)) + 1,
        threshold,
        rung_rule(quota, len(others) + 1, threshold, study.mode),
    )


def by_two_objectives(study: Study, number: int, values: Mapping[int, float], quota: int) -> Explanation:
    """A trial's place by two objectives among those at a rung, of which `quota` continue.

    Args:
        study: The record.
        number: The trial.
        values: Objective of each trial at the rung, its own included, by number.
        quota: Number of trials that continue.
    """
    ranked = places(study, values)
    last = list(ranked)[:quota][-1:]
    until = f"; trial {last[0]} is the last of them" if last else ""
    own = ranked.pop(number)
    return Explanation(
        study[number].state,
        study[number].pairs_seen,
        value=own.value,
        compared={n: place.value for n, place in ranked.items()},
        rank=own.rank,
        rule=f"the best {quota} of {len(values)} continue, front by front{until}",
        place=own,
        rivals=ranked,
    )


def rung_rule(quota: int, n: int, threshold: float | None, mode: Mode) -> str:
    """The rule at a rung that `n` trials have reached, of which `quota` continue."""
    if threshold is None:
        return f"the best {quota} of {n} continue, with any value"
    return f"the best {quota} of {n} continue, with {or_better(threshold, mode)}"


def n_passing(n: int, reduction_factor: float) -> int:
    """Number of trials that continue of those that reached a rung: 1/eta, rounded down, at least one."""
    return max(1, math.floor(n / reduction_factor))


def is_among_best(value: float, others: list[float], reduction_factor: float, mode: Mode) -> bool:
    """Whether a value is among the best 1/eta of itself and the others (`n_passing`).

    Equal values pass together. This counts as the paper does; Ray's ASHA compares with an interpolated
    quantile of the others, so the second best of three passes where one in three should (EXPERIMENTS.md).
    """
    n_better = sum(loss_of(other, mode) < loss_of(value, mode) for other in others)
    return n_better < n_passing(len(others) + 1, reduction_factor)
