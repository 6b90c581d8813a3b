"""How a search's figures show trials: colours stand for what became of one, the same in all figures."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from tune.results.best_trials import show
from tune.results.report.facts import Fate, fate
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial

COLOURS: dict[Fate, str] = {
    "stopped": "#98a2b3",
    "complete": "#3b7dd8",
    "running": "#1f9d68",
    "failed": "#d6336c",
    "winner": "#e8890c",
}
"""In the order of drawing: what matters more lies on top."""

NAMES: dict[Fate, str] = {
    "stopped": "stopped early",
    "complete": "to the end",
    "running": "under way",
    "failed": "failed",
    "winner": "the best",
}
GREY = "#8a94a3"
"""Of what is no trial: axes, rungs."""


def by_fate(study: Study, winner: Trial | None) -> Iterable[tuple[Fate, list[Trial]]]:
    """The trials of each fate, in the order of drawing; none of some."""
    for kind in COLOURS:
        yield kind, [trial for trial in study if fate(trial, winner) == kind]


def marker(kind: Fate) -> dict[str, object]:
    """How a trial's point is drawn."""
    symbol = {"winner": "diamond", "failed": "x"}.get(kind, "circle")
    return {"color": COLOURS[kind], "symbol": symbol, "size": 11 if kind == "winner" else 7.5}


def about(trial: Trial, mode: Mode) -> str:
    """What a reader wants to know of a trial that the pointer is on, for Plotly, which reads some HTML."""
    value = trial.best(mode)
    best = "no report" if value is None else f"{value:.4f}"
    settings = "<br>".join(f"{name} {_plain(show(value))}" for name, value in trial.params.items())
    ended = _plain(trial.reason or trial.state.lower())
    return f"<b>trial {trial.number}</b>: {best} after {trial.pairs_seen:,} pairs, {ended}<br>{settings}"


def _plain(text: str) -> str:
    """A text that Plotly shows as it is; quotes mean nothing to it, and not all versions know their names."""
    return escape(text, quote=False)
