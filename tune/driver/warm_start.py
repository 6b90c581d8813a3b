"""Warm start: the trials of an old search that a new one may learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from themo.config.loss_mixture import parse_mixture
from themo.config.settings import Settings, known_leaves
from themo.errors import InputError
from tune.space.dimensions import contains
from tune.space.read_dimensions import FIXED_SECTIONS
from tune.space.search_space import Space
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import DIVERGED, Trial

_CHANGES_NO_SCORE = frozenset({"objective", "seed", "device", "threads", "compile", "accumulate"})
"""Training settings that may differ: the seed and the hardware change a score by chance or rounding only,
and the objective is compared separately, after its default is filled in."""


@dataclass(frozen=True)
class CarriedOver:
    """Trials of an old search, converted for a new one.

    Attributes:
        trials: Numbered from -1 downwards, with the settings of the new space. Diverged trials are included:
            no searcher learns from them, but the new search must not repeat them.
        left_out: Number of trials left out, by reason.
    """

    trials: tuple[Trial, ...]
    left_out: dict[str, int]

    def __str__(self) -> str:
        n_scored = sum(trial.is_scored for trial in self.trials)
        reasons = ", ".join(f"{n} {reason}" for reason, n in self._without_score().items())
        return f"{n_scored} of {n_scored + sum(self._without_score().values())} trials carry over" + (
            f"; left out: {reasons}" if reasons else ""
        )

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
    InfoNCE term.

    Args:
        old: The old search.
        study: The record of the old search.
        space: Space of the new search.
        settings: Base settings of the new search.

    Raises:
        InputError: The searches have different objectives or miniature worlds, or no trial carries over.
    """
    if old.objective != settings.objective:
        raise InputError(
            f"--warm-start {old.name}: must have the objective {settings.objective}, has {old.objective}"
        )
    if old.settings.miniature != settings.miniature:
        raise InputError(f"--warm-start {old.name}: must have the miniature of this search, has another")
    compared = _compared()
    expected = {leaf: value for leaf, value in settings.leaves().items() if leaf in compared}
    trials: list[Trial] = []
    left_out: Counter[str] = Counter()
    for trial in study:
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
        if other or outside:
            left_out[_reason(other, outside)] += 1
            continue
        trials.append(replace(trial, number=-1 - len(trials), params=params))
    carried = CarriedOver(tuple(trials), dict(left_out))
    if not any(trial.is_scored for trial in trials):
        raise InputError(f"--warm-start {old.name}: {carried}")
    return carried


def _compared() -> frozenset[str]:
    """The settings that change a score: they must be equal unless they are searched."""
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
