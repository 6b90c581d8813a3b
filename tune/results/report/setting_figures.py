"""Figures of the searched settings' effects: importance, slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from plotly.graph_objects import Bar, Figure, Scatter

from themo.evaluation.report.figures import ABOVE
from themo.evaluation.report.panels import Grid, Panel, layout_axes, trace_axes
from tune.results.best_trials import show
from tune.results.report.axes import log_ticks, wrapped
from tune.results.report.facts import Importance
from tune.results.report.outcomes import COLOURS, NAMES, by_outcome, marker
from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange, Scalar
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial


def importance_bars(found: Sequence[Importance]) -> Figure:
    """Importance of each setting, and the importance due to chance."""
    shown = list(reversed(found))
    figure = Figure(
        Bar(
            x=[item.share for item in shown],
            y=[item.name for item in shown],
            orientation="h",
            name="importance",
            marker={
                "color": [
                    COLOURS["complete"] if item.is_above_chance else COLOURS["stopped"] for item in shown
                ]
            },
            hovertemplate="%{y}: %{x:.2f}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_trace(
        Scatter(
            x=[item.chance for item in shown],
            y=[item.name for item in shown],
            name="chance: 95th percentile of 100 shuffles",
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 16, "color": COLOURS["winner"], "line": {"width": 2}},
            hovertemplate="%{y}: chance %{x:.2f}<extra></extra>",
        )
    )
    return figure.update_layout(
        height=110 + 26 * len(shown),
        bargap=0.35,
        xaxis={"title": {"text": "importance (share)"}, "rangemode": "tozero"},
        yaxis={"showgrid": False},
    )


def slices(study: Study, winner: Trial | None, space: Space, objective: str) -> Figure:
    """Best objective of each trial over each searched setting, one small plot a setting."""
    figure = Figure()
    layout: dict[str, Any] = {}
    for i, (name, dimension) in enumerate(space.dimensions.items()):
        for kind, trials in by_outcome(study, winner):
            shown = [trial for trial in trials if trial.values and name in trial.params]
            bests = [trial.best(study.mode) for trial in shown]
            figure.add_trace(
                Scatter(
                    x=[_position(dimension, trial.params[name]) for trial in shown],
                    y=bests,
                    customdata=bests,
                    name=NAMES[kind],
                    legendgroup=kind,
                    showlegend=i == 0 and any(trial.values for trial in trials),
                    mode="markers",
                    marker=marker(kind),
                    text=[f"trial {trial.number}, {name} {show(trial.params[name])}" for trial in shown],
                    hovertemplate="%{text}: %{customdata:.4f}<extra></extra>",
                    **trace_axes(i),
                )
            )
        y = {"title": {"text": objective}, "zeroline": False}
        layout |= layout_axes(i, _slice_axis(dimension), y)
    panels = [Panel(name, 150) for name in space.dimensions]
    grid = Grid(panels, columns=4, least=150, gap=24, shared=True)
    scaled = [trace_axes(i)["yaxis"] for i in range(len(panels))]
    return figure.update_layout(meta={**grid.to_meta(), "scaled": scaled}, legend=ABOVE, **layout)


def _position(dimension: Dimension, value: Scalar) -> Scalar:
    return str(value) if isinstance(dimension, Choice) else value


def _slice_axis(dimension: Dimension) -> dict[str, Any]:
    axis: dict[str, Any] = {"zeroline": False, "tickangle": 0}
    match dimension:
        case Choice(choices=choices):
            order = [str(choice) for choice in choices]
            own = {"type": "category", "categoryorder": "array", "categoryarray": order}
            ticks = {
                "tickvals": order,
                "ticktext": [wrapped(choice) for choice in order],
                "tickfont": {"size": 11},
            }
            return axis | own | ticks | {"range": [-0.5, len(order) - 0.5]}
        case IntRange(low=low, high=high, log=True) | FloatRange(low=low, high=high, log=True):
            margin = 0.05 * math.log10(high / low)
            ends = [math.log10(low) - margin, math.log10(high) + margin]
            return axis | {"type": "log", "range": ends, **log_ticks(low, high)}
        case IntRange(low=low, high=high) | FloatRange(low=low, high=high):
            margin = 0.05 * (high - low)
            return axis | {"range": [low - margin, high + margin]}
