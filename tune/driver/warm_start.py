"""Warm start: the trials of an old search that a new one may learn from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from themo.config.loss_mixture import parse_mixture
from themo.config.settings import Settings, known_leaves
from themo.errors import InputError
from tune.space.dimensions import Scalar, contains
from tune.space.read_dimensions import FIXED_SECTIONS
from tune.space.search_space import Space
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import DIVERGED, Trial, loss_of
from tune.study.tried import key_of

_CHANGES_NO_SCORE = frozenset({"objective", "seed", "device", "threads", "compile", "accumulate"})
"""Training settings that may differ: the seed and the hardware change a score by chance or rounding only,
and the objective is compared separately, after its default is filled in."""

_TASK_SECTIONS = ("data", "teacher")
"""Sections that say which task a student learns: scores of other tasks do not compare, settings may."""


@dataclass(frozen=True)
class CarriedOver:
    """Trials of an old search, converted for a new one.

    Attributes:
        trials: Numbered from -1 downwards, with the settings of the new space. Diverged trials are included:
            no searcher learns from them, but the new search must not repeat them.
        left_out: Number of other trials, by reason.
        proposals: Settings to try first: the best of `n_foreign` trials, best first.
        task: The settings in which the task of those trials differs.
        n_foreign: Number of trials with a score that differ in the task alone; 0 without `proposals`.
    """

    trials: tuple[Trial, ...]
    left_out: dict[str, int]
    proposals: tuple[Mapping[str, Scalar], ...] = ()
    task: tuple[str, ...] = ()
    n_foreign: int = 0

    def __str__(self) -> str:
        n_scored, without_score = sum(trial.is_scored for trial in self.trials), self._without_score()
        n_all = n_scored + self.n_foreign + sum(without_score.values())
        line = f"{n_scored} of {n_all} trials carry over"
        if without_score:
            line += f"; left out: {', '.join(f'{n} {reason}' for reason, n in without_score.items())}"
        if self.proposals:
            n = len(self.proposals)
            are_tried = "is tried first, without its score" if n == 1 else "are tried first, without scores"
            best = "the best" if n == 1 else f"the best {n}"
            line += f"; of {self.n_foreign} with another {', '.join(self.task)}, {best} {are_tried}"
        return line

    def _without_score(self) -> Counter[str]:
        diverged = sum(not trial.is_scored for trial in self.trials)
        return Counter(self.left_out) + Counter({"that diverged": diverged})


def carry_over(old: Search, study: Study, space: Space, settings: Settings) -> CarriedOver:
    """The trials of an old search that the new one could have run itself, with the same outcome.

    Such a trial succeeded or diverged, with its settings unchanged during training. Its values of settings
    that the new search varies lie within the new space; all its other settings equal the new search's. A
    setting that the old search held fixed, or that was inactive in the trial, counts with its base value; a
    setting that only the old search varied, or that is inactive in the new one, must happen to have the new
    base value. Paths, tests, the seed and the hardware may differ, and the temperature of a loss without an
    InfoNCE term. Trials that the old search itself had carried over count as its own.

    Where only the task differs (teacher, corpus, miniature, objective), scores do not compare: 0.6 with a
    weak teacher may be better than 0.7 with a strong one. Such a trial gives its settings alone. The best
    quarter of them, at most half of `startup_trials`, are proposed first and measured by the new search; so
    half of its first trials still cover the space.

    Args:
        old: The old search.
        study: The record of the old search.
        space: Space of the new search.
        settings: Base settings of the new search.

    Raises:
        InputError: Nothing carries over.
    """
    carried = _sorted_out(old, (*study.carried, *study), space, settings)
    if not any(trial.is_scored for trial in carried.trials) and not carried.proposals:
        raise InputError(f"--warm-start {old.name}: {carried}")
    return carried


def carry_on(old: Search, study: Study, space: Space, settings: Settings) -> CarriedOver:
    """The carried trials of a search that is repeated, by the rules of `carry_over`.

    Where settings, objective or resource have changed, scores of the old ones do not compare. Arguments are
    those of `carry_over`.
    """
    carried = _sorted_out(old, study.carried, space, settings)
    return replace(carried, proposals=study.proposals or carried.proposals)


def _sorted_out(old: Search, candidates: Iterable[Trial], space: Space, settings: Settings) -> CarriedOver:
    compared = _compared()
    expected = {leaf: value for leaf, value in settings.leaves().items() if leaf in compared}
    task_of_search = _other_task(old, space, settings)
    trials: list[Trial] = []
    foreign: list[Trial] = []
    task: set[str] = set()
    left_out: Counter[str] = Counter()
    for trial in candidates:
        has_diverged = trial.state == "FAIL" and trial.reason.startswith(DIVERGED)
        if not has_diverged and (trial.state not in ("COMPLETE", "PRUNED") or not trial.values):
            left_out["that failed or did not finish"] += 1
            continue
        if trial.lineage:  # `params` are the last ones, `values` also those of earlier settings
            left_out["whose settings changed during training"] += 1
            continue
        leaves = old.settings.override(trial.params, source=old.name).leaves()
        params = space.active(leaves)
        outside = [name for name, value in params.items() if not contains(space.dimensions[name], value)]
        free = params.keys() | _without_effect(leaves)
        other = [leaf for leaf, value in expected.items() if leaf not in free and leaves[leaf] != value]
        other += task_of_search
        here = replace(trial, params=params)
        if not other and not outside:
            trials.append(replace(here, number=-1 - len(trials)))
            continue
        if not outside and trial.is_scored and all(map(_is_of_task, other)):
            foreign.append(here)
            task.update(other)
        else:
            left_out[_reason(other, outside)] += 1
    proposals = _best_quarter(foreign, old, space)
    return CarriedOver(tuple(trials), dict(left_out), proposals, tuple(sorted(task)), len(foreign))


def _other_task(old: Search, space: Space, settings: Settings) -> list[str]:
    """Parts of the task that differ for all trials of the old search; a trial's seconds are a part of it."""
    parts = {
        "objective": old.objective != settings.objective,
        "miniature": old.settings.miniature != settings.miniature,
        "trial_seconds": old.space.search.trial_seconds != space.search.trial_seconds,
        "second_objective": space.search.second_objective not in (None, old.space.search.second_objective),
    }
    return [name for name, differs in parts.items() if differs]


def _is_of_task(name: str) -> bool:
    """Whether a setting is a part of the task."""
    leaves = known_leaves()
    return (
        name in ("objective", "miniature", "trial_seconds", "second_objective")
        or leaves[name][0] in _TASK_SECTIONS
    )


def _best_quarter(trials: Sequence[Trial], old: Search, space: Space) -> tuple[Mapping[str, Scalar], ...]:
    """Distinct settings of the best quarter of trials, best first, at most half of `startup_trials`."""
    ranked = sorted(trials, key=lambda trial: loss_of(trial.best(old.mode) or 0.0, old.mode))
    distinct: dict[object, Mapping[str, Scalar]] = {}
    for trial in ranked:
        distinct.setdefault(key_of(space, trial.params), trial.params)
    n = min(math.ceil(len(ranked) / 4), max(1, space.search.startup_trials // 2))
    return tuple(distinct.values())[:n]


def _compared() -> frozenset[str]:
    """Settings that change a score and must be equal unless they are searched."""
    return frozenset(
        leaf
        for leaf, (section, _) in known_leaves().items()
        if section not in FIXED_SECTIONS and leaf not in _CHANGES_NO_SCORE
    )


def _without_effect(leaves: Mapping[str, Any]) -> frozenset[str]:
    """Settings that no loss of the trial uses."""
    return frozenset() if "infonce" in parse_mixture(leaves["loss"]) else frozenset({"temperature"})


def _reason(other: Iterable[str], outside: Iterable[str]) -> str:
    if outside:
        return f"with {', '.join(outside)} outside the space"
    return f"with another {', '.join(other)}"
