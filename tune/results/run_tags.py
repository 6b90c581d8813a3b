"""Keys and tags of a search's runs in MLflow, and the metrics and tags of its winner."""

from __future__ import annotations

from tune.confirmation.verdict import Verdict
from tune.study.confirmation import SEED
from tune.study.trial_record import Trial

SEARCH_TAG = "themo.search"
TRIAL_TAG = "themo.trial"
CONFIRMS_TAG = "themo.confirms"
"""Tag of a run that confirms the winner: number of the trial whose settings it repeats."""

WINNER_TAG = "themo.winner."
"""Begins the tags of the winner: ``trial``, ``tested``, and one a setting."""

FRONT_TAG = "themo.front"
"""Tag of a trial of a search with two objectives: whether it is on the front, ``true`` or ``false``."""

CONFIRMATION_TAG = "themo.confirmation"
"""The outcome of the confirmation; one tag a comparison has its text."""

EARLY_END_TAG = "themo.early_end"
"""Why the search ended before its last trial, with the chance of a gain."""


def run_key(uid: str, trial: Trial) -> str:
    """The key of a trial's run.

    Args:
        uid: The search's id, which is the key of its own run.
        trial: The trial.
    """
    return f"{uid}/{run_name(trial)}"


def run_name(trial: Trial) -> str:
    """The part of a run's key that is unique within its search."""
    if trial.confirms is None:
        return str(trial.number)
    return f"confirms-{trial.confirms}-seed-{trial.params[SEED]}"  # its number may change as the search grows


def trial_tags(trial: Trial) -> dict[str, str]:
    """Tags with the trial of a run and the reason of its end."""
    tags = {TRIAL_TAG: str(trial.number)} if trial.confirms is None else {CONFIRMS_TAG: str(trial.confirms)}
    ends = {"reason": trial.reason, "why": trial.why, "lineage": trial.lineage_in_words}
    return tags | {f"themo.{name}": text for name, text in ends.items() if text}


def winner_tags(winner: Trial, *, is_tested: bool) -> dict[str, str]:
    """Number and settings of a search's winner, as tags: params cannot change when the search is resumed."""
    facts: dict[str, object] = {"trial": winner.number, "tested": "yes" if is_tested else "no"}
    return {f"{WINNER_TAG}{name}": str(value) for name, value in (facts | dict(winner.params)).items()}


def confirmation_tags(found: Verdict | None) -> dict[str, str]:
    """The verdict on a search's winner, as tags; none without one."""
    if found is None:
        return {}
    texts = {f"{CONFIRMATION_TAG}.{c.role.replace(' ', '_')}": found.line(c) for c in found.comparisons}
    return {CONFIRMATION_TAG: found.outcome} | texts


def leads(found: Verdict | None) -> dict[str, float]:
    """The winner's leads with further seeds, as metrics: ``lead/runner_up``, and the ends of its interval."""
    metrics: dict[str, float] = {}
    for comparison in found.comparisons if found is not None else ():
        role, lead = comparison.role.replace(" ", "_").replace("-", "_"), comparison.lead
        name = f"lead/{role}"
        values = {name: lead.mean, f"{name}_low": lead.low, f"{name}_high": lead.high}
        metrics |= {key: value for key, value in values.items() if value is not None}
    return metrics
