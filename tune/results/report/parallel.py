"""Parallel coordinates of a search: axes and lines as data, which the script of the page draws.

Drawn by a script of our own: Optuna's figure sorts the axes by name and has colours for a white background
only; Plotly's needs WebGL, and scripts that a content security policy should forbid; neither filters a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tune.results.best_trials import show, show_setting
from tune.results.report.axes import Axis, name_lines
from tune.results.report.facts import outcome
from tune.results.report.outcomes import NAMES
from tune.results.report.scales import Scale
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial


def parallel_coordinates(
    study: Study, winner: Trial | None, space: Space, objective: str, scales: Sequence[Scale]
) -> dict[str, Any]:
    """The axes of all searched settings and of the objective, and the line of each trial with a report.

    Returns:
        ``axes``: name, labels and ticks of each setting, with heights from 0 to 1. ``objective``: its labels.
        ``trials``: number, group (`_groups`), heights (None at a setting that is inactive in the trial), best
        objective, and lines about the trial.
    """
    shown = [trial for trial in study if trial.values]
    axes = {name: Axis.of(dimension) for name, dimension in space.dimensions.items()}
    group_of = _groups(study, shown, winner)
    return {
        "axes": [_axis(name, axis) for name, axis in axes.items()],
        "objective": {"name": objective, "labels": name_lines(objective)},
        "scales": [scale.to_json() for scale in scales],
        "trials": [
            {
                "number": trial.number,
                "group": group_of[trial.number],
                "heights": [
                    round(axis.height(trial.params[name]), 5) if name in trial.params else None
                    for name, axis in axes.items()
                ],
                "best": trial.best(study.mode),
                "about": _about(trial, winner, study, space, objective),
            }
            for trial in shown
        ],
    }


def _axis(name: str, axis: Axis) -> dict[str, Any]:
    return {
        "name": name,
        "labels": name_lines(name),
        "ticks": [
            {"height": axis.height(tick), "labels": name_lines(_text(tick)), "text": _text(tick)}
            for tick in axis.ticks
        ],
        "is_choice": axis.is_choice,
        "is_log": axis.is_log,
        "low": axis.low,
        "high": axis.high,
    }


def _text(tick: Any) -> str:
    return show(tick) if isinstance(tick, float) else str(tick)


def _about(trial: Trial, winner: Trial | None, study: Study, space: Space, objective: str) -> list[str]:
    """Lines about a trial, shown under the pointer."""
    return [
        f"trial {trial.number}, {NAMES[outcome(trial, winner)]}",
        f"{objective} {trial.best(study.mode):.4f} after {trial.pairs_seen:,} pairs",
        *([trial.why] if trial.why else []),
        *(f"{name} {show_setting(trial, name)}" for name in space.dimensions if name in trial.params),
    ]


def _groups(study: Study, shown: Sequence[Trial], winner: Trial | None) -> dict[int, str]:
    """Group of each trial's line: ``winner``, or ``best``, ``middle`` or ``worst`` third of the others."""
    sign = -1 if study.mode == "max" else 1
    others = [trial for trial in shown if winner is None or trial.number != winner.number]
    others.sort(key=lambda trial: sign * (trial.best(study.mode) or 0.0))
    third = math.ceil(len(others) / 3)
    groups = {t.number: ("best", "middle", "worst")[i // third] for i, t in enumerate(others)}
    return groups | ({winner.number: "winner"} if winner is not None else {})
