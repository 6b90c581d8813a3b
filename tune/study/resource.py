"""The resource of a search: the amount at which schedulers compare trials.

Trials of one size are compared after equal sentence pairs. If width and depth are searched, a pair takes each
trial a different time; trials are then compared after equal seconds of their own training.
"""

from __future__ import annotations

from collections.abc import Mapping

from tune.space.search_settings import Resource
from tune.study.trial_record import TRAINING_SECONDS, Trial

NAMES_OF_RESOURCES: Mapping[Resource, str] = {
    "pairs": "sentence pairs seen",
    "seconds": "seconds of training",
}


HEADINGS: Mapping[Resource, str] = {"pairs": "pairs_seen", "seconds": "seconds"}
"""Headings of the amount in tables of trials."""


def amount_in(metrics: Mapping[str, float], resource: Resource) -> float:
    """The amount that a trial had used at a report: sentence pairs, or seconds of training.

    Raises:
        KeyError: The report lacks the amount.
    """
    return int(metrics["pairs_seen"]) if resource == "pairs" else metrics[TRAINING_SECONDS]


def amount_of(trial: Trial, resource: Resource) -> float:
    """The amount that a trial has used at its last report; 0 before its first report."""
    return trial.pairs_seen if resource == "pairs" else trial.training_seconds


def curve_of(trial: Trial, resource: Resource) -> Mapping[float, float]:
    """Finite values of the objective by the amount at their reports."""
    if resource == "pairs":
        return trial.values  # type: ignore[return-value]  # an int is an amount too
    return {trial.seconds_at[pairs]: value for pairs, value in trial.values.items()}


def in_words(amount: float, resource: Resource) -> str:
    """An amount as text, such as ``8,000 pairs`` or ``12.5 s``."""
    if resource == "pairs":
        return f"{amount:,} pairs"
    return f"{amount:,.0f} s" if amount >= 100 else f"{amount:.3g} s"


def number_of(trial: Trial, resource: Resource) -> str:
    """The amount that a trial has used, without its unit, such as ``8,000`` or ``12.5``."""
    return in_words(amount_of(trial, resource), resource).partition(" ")[0]


def progress_in_words(trial: Trial, resource: Resource) -> str:
    """The amount that a trial has used, such as ``8,000 pairs`` or ``12.5 s of training (8,000 pairs)``."""
    pairs = f"{trial.pairs_seen:,} pairs"
    if resource == "pairs":
        return pairs
    return f"{in_words(trial.training_seconds, resource)} of training ({pairs})"
