"""Searches with two objectives: the metric of the search, and the cost of a student, which is minimised.

A trial dominates another one if it is no worse in both and better in one. The first front holds the trials
that no other trial dominates, the second front those that only trials of the first dominate, and so on.

Within a front the trial with the best objective comes first, then always the one farthest from those before
it (an epsilon-net, as in Schmucker et al., 2021, https://arxiv.org/abs/2106.12639): the first few trials of a
front cover it. Distances are differences of the objective and of the logarithm of the cost, each as a share
of the front's range: a student of 1 MB is as far from one of 2 MB as 100 MB from 200 MB.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tune.space.search_settings import SecondObjective
from tune.study.study import Study
from tune.study.trial_record import COST, Trial, loss_of

UNITS: Mapping[SecondObjective, str] = {"mb": "MB", "ms": "ms per text"}

Point = tuple[float, float]
"""Objective as a loss, and cost; less is better."""


def cost_metric(second: SecondObjective) -> str:
    """Name of the metric of a cost, in reports and in MLflow."""
    return COST + second


def cost_in_words(cost: float, second: SecondObjective) -> str:
    """A cost as text, such as ``1.2 MB``."""
    return f"{cost:.3g} {UNITS[second]}"


@dataclass(frozen=True)
class FrontPosition:
    """The place of a trial among others by two objectives.

    Attributes:
        value: Objective of the trial.
        cost: Cost of the trial.
        front: Number of its front, from 1.
        rank: Rank among all trials, from 1, front by front.
    """

    value: float
    cost: float
    front: int
    rank: int


def places(study: Study, values: Mapping[int, float]) -> dict[int, FrontPosition]:
    """The places of trials by two objectives, best first.

    Args:
        study: The record.
        values: Objective of each trial, by number.

    Raises:
        ValueError: A trial has no cost.
    """
    points = {number: (loss_of(value, study.mode), _cost(study[number])) for number, value in values.items()}
    ordered = [
        (front, number)
        for front, numbers in enumerate(fronts(points), start=1)
        for number in spread({number: points[number] for number in numbers})
    ]
    return {
        number: FrontPosition(values[number], points[number][1], front, rank)
        for rank, (front, number) in enumerate(ordered, start=1)
    }


def fronts(points: Mapping[int, Point]) -> list[list[int]]:
    """The numbers of each front, the best front first; within a front by loss, then by number.

    In the order of losses a trial belongs to the first front whose last trial costs more, so that one pass is
    enough.
    """
    found: list[list[int]] = []
    costs: list[float] = []  # of the last trial of each front, ascending
    for number in _by_loss(points):
        front = bisect_right(costs, points[number][1])
        if front and points[found[front - 1][-1]] == points[number]:  # equals do not dominate each other
            front -= 1
        if front == len(found):
            found.append([])
            costs.append(math.inf)
        found[front].append(number)
        costs[front] = points[number][1]
    return found


def spread(points: Mapping[int, Point]) -> list[int]:
    """Order the numbers of a front: the least loss, then always the trial farthest from those before it.

    Ties go to the lower loss, then to the earlier trial.
    """
    left = _by_loss(points)
    losses = _shares([points[number][0] for number in left])
    costs = _shares([math.log(points[number][1]) for number in left])
    scaled = dict(zip(left, zip(losses, costs, strict=True), strict=True))
    distance = dict.fromkeys(left, math.inf)
    ordered = []
    while left:
        chosen = max(left, key=lambda number: distance[number])  # the first of equals
        ordered.append(chosen)
        left.remove(chosen)
        for number in left:
            distance[number] = min(distance[number], math.dist(scaled[number], scaled[chosen]))
    return ordered


def _by_loss(points: Mapping[int, Point]) -> list[int]:
    return sorted(points, key=lambda number: (*points[number], number))


def front_of(study: Study) -> list[Trial]:
    """The trials with a score that no other dominates, by cost; a stopped one counts with its best report."""
    scored = [trial for trial in study if trial.is_scored and trial.cost is not None]
    points = {t.number: (loss_of(t.best(study.mode) or 0.0, study.mode), _cost(t)) for t in scored}
    first = fronts(points)[:1]
    return [study[number] for numbers in first for number in reversed(numbers)]


def _cost(trial: Trial) -> float:
    if trial.cost is None:
        raise ValueError(f"trial {trial.number} has no cost: a search with two objectives measures it first")
    return trial.cost


def _shares(values: Sequence[float]) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]
