"""Settings that failed trials of a search have in common and others do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tune.results.best_trials import show
from tune.space.dimensions import Choice, Dimension, Scalar
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial

CHANCE = 0.05
"""Significance level, over all settings: probability that randomly chosen trials share as much."""


@dataclass(frozen=True)
class Shared:
    """A part of a setting's values that holds all failed trials and few others.

    Attributes:
        text: The values, such as ``learn_rate 0.0031 or more``.
        n_others: Number of trials that did not fail and lie in it too.
    """

    text: str
    n_others: int


def kind_of(reason: str) -> str:
    """The kind of a failure: its reason up to the first colon, such as ``diverged``."""
    return reason.partition(":")[0].strip()


def failed_alike(study: Study, trial: Trial) -> list[Trial]:
    """The failed trials of the same kind, the trial itself included."""
    kind = kind_of(trial.reason)
    return [t for t in study if t.state == "FAIL" and kind_of(t.reason) == kind]


def shared_settings(study: Study, space: Space, failed: Sequence[Trial]) -> list[Shared]:
    """The settings that separate failed trials from those that did not fail, beyond chance.

    Candidates are, for each number, "at least the lowest of the failed ones" and "at most the highest", and
    for each choice a value that all failed trials have. If k of n trials failed, and m others lie in a
    candidate too, k trials drawn at random lie in such a part with probability C(k + m, k) / C(n, k). The
    part is kept if this is at most `CHANCE` divided by the number of candidates: of many settings some
    separate any few trials.

    Args:
        study: The record.
        space: The search space.
        failed: Trials that failed in the same way.
    """
    others = [trial for trial in study if trial.is_done and trial.state != "FAIL"]
    if len(failed) < 2 or not others:
        return []
    parts = [
        part
        for name, dimension in space.dimensions.items()
        if all(name in trial.params for trial in failed)
        for part in _parts(name, dimension, failed, others)
    ]
    k, n = len(failed), len(failed) + len(others)

    def chance(part: Shared) -> float:
        return math.comb(k + part.n_others, k) / math.comb(n, k)

    return [part for part in parts if chance(part) <= CHANCE / len(parts)]


def _parts(name: str, dimension: Dimension, failed: Sequence[Trial], others: Sequence[Trial]) -> list[Shared]:
    values = [trial.params[name] for trial in failed]
    rest = [trial.params[name] for trial in others if name in trial.params]
    if isinstance(dimension, Choice):
        first = values[0]
        n_same = sum(_is_same(value, first) for value in rest)
        is_shared = all(_is_same(value, first) for value in values)
        return [Shared(f"{name} {show(first)}", n_same)] if is_shared else []
    numbers, own = [_number(value) for value in rest], [_number(value) for value in values]
    low, high = min(own), max(own)
    return [
        Shared(f"{name} {show(low)} or more", sum(number >= low for number in numbers)),
        Shared(f"{name} {show(high)} or less", sum(number <= high for number in numbers)),
    ]


def _is_same(value: Scalar, other: Scalar) -> bool:
    return type(value) is type(other) and value == other


def _number(value: Scalar) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"no number: {value!r}")
    return value
