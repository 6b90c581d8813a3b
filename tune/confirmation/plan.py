"""Plans the confirmation of a search's winner: its rivals, its seeds, its cost.

The winner is the maximum of many noisy scores on one seed, so its score on that seed is biased and proves
nothing: only further seeds count. The finalists are two or three trials: the winner, the first trusted
settings, and the best other trial where three seeds of all three fit into the budget. Each further finalist
would cost as much as more seeds of the others, and seeds are few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

from themo.config.sections import MAX_SEED
from themo.config.settings import Settings
from tune.confirmation.paired_test import MIN_SEEDS
from tune.space.search_space import Space
from tune.study.confirmation import SEED, Confirmation
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.study.tried import key_of
from tune.study.work_time import rest_of_run

SEEDS_FOR_RUNNER_UP = 3
"""Minimum number of seeds with which a runner-up is added: a test of two seeds has one degree of freedom."""

_ROUNDING = 1e-9
"""Allowance for the rounding of a share times pairs: 0.29 * 200,000 is below 58,000 in float64."""


@dataclass(frozen=True)
class Unconfirmed:
    """The reason why a winner cannot be confirmed.

    Attributes:
        reason: One line without a full stop, such as "the winner, trial 3, was stopped early".
        sufficient: Smallest `confirm` that allows two seeds, rounded up to 0.01; None: no share does.
    """

    reason: str
    sufficient: float | None = None


def plan(study: Study, space: Space, settings: Settings) -> Confirmation | Unconfirmed | None:
    """Plan the confirmation of a finished search's winner, or give the reason for none.

    A function of the record. A winner's plan in the record stays as it is, even if the search grew.

    Args:
        study: The record.
        space: The search space.
        settings: Base settings of the search.

    Returns:
        The plan; the reason for none; None if confirmation is off.
    """
    search, winner = space.search, study.scored_winner()
    if not search.is_confirmed or winner is None:
        return None
    known = study.confirmation
    if known is not None and known.winner == winner.number:
        return known
    if winner.state != "COMPLETE":
        return Unconfirmed(f"the winner, trial {winner.number}, was stopped early")
    rivals, trusted = _rivals(study, space, settings, winner)
    if not rivals:
        return Unconfirmed("no other trial is complete")
    spent = 0 if known is None else known.pairs_before + sum(run.pairs_seen for run in study.runs)
    budget = search.confirm * pairs_of_search(study)
    costs = [pairs_of_run(trial, settings, search.trial_seconds) for trial in (winner, *rivals)]

    def affordable(n_finalists: int) -> int:
        seeds = (budget - spent) / sum(costs[:n_finalists])
        return min(search.confirm_seeds, math.floor(seeds + _ROUNDING))

    n_rivals = 2 if len(rivals) > 1 and affordable(3) >= SEEDS_FOR_RUNNER_UP else 1
    n_seeds = affordable(1 + n_rivals)
    if n_seeds < MIN_SEEDS:
        needed = spent + MIN_SEEDS * sum(costs[:2])
        share = math.ceil(100 * needed / pairs_of_search(study) - _ROUNDING) / 100
        return Unconfirmed(
            f"{MIN_SEEDS} further seeds of trials {winner.number} and {rivals[0].number} need {needed:,.0f} "
            f"sentence pairs; --confirm {search.confirm:g} allows {budget:,.0f}",
            share,
        )
    chosen = rivals[:n_rivals]
    return Confirmation(
        winner=winner.number,
        rivals=tuple(rival.number for rival in chosen),
        trusted=trusted.number if trusted in chosen and trusted is not None else None,
        seeds=further_seeds(_seeds(study, settings), n_seeds),
        pairs_before=round(spent),
    )


def further_seeds(used: Sequence[int], n: int) -> tuple[int, ...]:
    """Return `n` seeds above all used ones; near the greatest seed, the least unused ones."""
    first = 1 + max(used)
    if first + n - 1 <= MAX_SEED:
        return tuple(range(first, first + n))
    return tuple(islice((seed for seed in count() if seed not in used), n))


def _rivals(
    study: Study, space: Space, settings: Settings, winner: Trial
) -> tuple[list[Trial], Trial | None]:
    """The trials to compare the winner with, trusted settings first, and the trial with trusted settings."""
    able = [trial for trial in study.ranked() if trial.state == "COMPLETE" and trial is not winner]
    trusted = next((trial for trial in able if _is_trusted(trial, space, settings)), None)
    others = [trial for trial in able if trial is not trusted][:1]
    if trusted is None:
        return others, None
    is_runner_up = able[0] is trusted
    return [trusted, *([] if is_runner_up else others)], trusted


def _is_trusted(trial: Trial, space: Space, settings: Settings) -> bool:
    """Whether a trial has the first trusted settings; without such, those of the preset."""
    if space.first:
        return trial.number == 0
    preset = settings.leaves()
    own = {name: preset[name] for name in space.dimensions}
    return key_of(space, own) == key_of(space, trial.params)


def _seeds(study: Study, settings: Settings) -> list[int]:
    """Seeds of training that the search has used."""
    searched = [trial.params[SEED] for trial in study if SEED in trial.params]
    return [settings.training.seed, *(seed for seed in searched if isinstance(seed, int))]


def pairs_of_search(study: Study) -> int:
    """Sentence pairs that the trials were trained on."""
    return sum(trial.pairs_seen for trial in study)


def pairs_of_run(trial: Trial, settings: Settings, trial_seconds: float | None = None) -> float:
    """Largest number of sentence pairs of a run with a complete trial's settings.

    `training.patience` may have ended the trial before its last epoch, and may not end the run.
    """
    return trial.pairs_seen * (1 + (rest_of_run(trial, settings, trial_seconds) or 0.0))


def begin(study: Study, chosen: Confirmation) -> None:
    """Enter a plan in the record, with the runs of earlier plans that it needs; in memory until `save`."""
    known = study.confirmation
    if chosen is known:
        return
    wanted = {(number, seed) for number in chosen.finalists for seed in chosen.seeds}
    kept = [run for run in study.runs if run.is_done and (run.confirms, run.params[SEED]) in wanted]
    saved = sum(run.pairs_seen for run in kept)
    numbered = [replace(run, number=number) for number, run in enumerate(kept)]
    study.plan_confirmation(replace(chosen, pairs_before=chosen.pairs_before - saved), numbered)
