"""Colours, names and hover texts of trials in a search's figures, by outcome."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from tune.results.best_trials import show
from tune.results.report.facts import Outcome, outcome
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial

COLOURS: dict[Outcome, str] = {
    "stopped": "#98a2b3",
    "complete": "#3b7dd8",
    "running": "#1f9d68",
    "failed": "#d6336c",
    "winner": "#e8890c",
}
"""In the order of drawing: more important outcomes are drawn on top."""

NAMES: dict[Outcome, str] = {
    "stopped": "stopped early",
    "complete": "completed",
    "running": "not ended",
    "failed": "failed",
    "winner": "best",
}
GREY = "#8a94a3"
"""Colour of axes and rungs."""


def by_outcome(study: Study, winner: Trial | None) -> Iterable[tuple[Outcome, list[Trial]]]:
    """The trials of each outcome, in the order of drawing; a list may be empty."""
    for kind in COLOURS:
        yield kind, [trial for trial in study if outcome(trial, winner) == kind]


def marker(kind: Outcome) -> dict[str, object]:
    """Plotly's marker of a trial's point."""
    symbol = {"winner": "diamond", "failed": "x"}.get(kind, "circle")
    return {"color": COLOURS[kind], "symbol": symbol, "size": 11 if kind == "winner" else 7.5}


def hover_text(trial: Trial, mode: Mode) -> str:
    """Hover text of a trial in Plotly's HTML: objective, pairs, outcome, decision and settings."""
    value = trial.best(mode)
    best = "no report" if value is None else f"{value:.4f}"
    settings = "<br>".join(f"{name} {plain(show(value))}" for name, value in trial.params.items())
    ended = plain(trial.reason or NAMES[outcome(trial, None)]) + decision_line(trial)
    return f"<b>trial {trial.number}</b>: {best} after {trial.pairs_seen:,} pairs, {ended}<br>{settings}"


def decision_line(trial: Trial) -> str:
    """A line of hover text with rank and threshold of the decision that paused or stopped a trial, if any."""
    return f"<br>{plain(trial.why)}" if trial.why else ""


def plain(text: str) -> str:
    """The text, escaped for Plotly; without quotes, whose entities some versions do not know."""
    return escape(text, quote=False)
