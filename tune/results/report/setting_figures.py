"""Figures of the searched settings' effects: parallel coordinates, importance, slices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from plotly.graph_objects import Bar, Figure, Scatter
from plotly.subplots import make_subplots

from tune.results.best_trials import show
from tune.results.report.axes import Axis, log_ticks, wrapped
from tune.results.report.facts import Importance
from tune.results.report.outcomes import COLOURS, GREY, NAMES, about, by_outcome, marker
from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange, Scalar
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial

_SLICE_COLUMNS = 4


def parallel_coordinates(study: Study, winner: Trial | None, space: Space, objective: str) -> Figure:
    """Every trial as a line across the axes of all searched settings, ending at its best objective.

    A line is interrupted at the axis of a setting that is inactive in its trial.

    Drawn as plain lines: Optuna's figure sorts the axes by name and has colours for a white background only;
    Plotly's needs WebGL, and scripts that a content security policy should forbid.
    """
    shown = [trial for trial in study if trial.values]
    bests = {trial.number: trial.best(study.mode) or 0.0 for trial in shown}
    low, high = min(bests.values()), max(bests.values())
    axes = {name: Axis.of(dimension) for name, dimension in space.dimensions.items()}
    axes[objective] = Axis.between(low, high if high > low else low + 1e-9)
    order = sorted(shown, key=lambda trial: bests[trial.number], reverse=study.mode == "min")
    figure = Figure()
    for share, group in _thirds(order, winner):
        xs: list[float | None] = []
        ys: list[float | None] = []
        texts: list[str | None] = []
        for trial in group:
            values = {**trial.params, objective: bests[trial.number]}
            spread = 0.05 * (trial.number / max(1, len(study) - 1) - 0.5)  # equal choices side by side
            for x, (name, axis) in enumerate(axes.items()):
                is_there = name in values
                xs.append(x if is_there else None)
                ys.append(axis.height(values[name]) + spread * axis.is_choice if is_there else None)
                texts.append(about(trial, study.mode) if is_there else None)
            xs, ys, texts = [*xs, None], [*ys, None], [*texts, None]
        figure.add_trace(
            Scatter(
                x=xs,
                y=ys,
                name=share.name,
                mode="lines",
                line={"color": share.colour, "width": share.width},
                opacity=share.opacity,
                text=texts,
                hovertemplate="%{text}<extra></extra>",
            )
        )
    for x, (name, axis) in enumerate(axes.items()):
        line = {"color": GREY, "width": 1}
        figure.add_shape(type="line", x0=x, x1=x, y0=-0.04, y1=1.04, line=line, layer="below")
        label = {"showarrow": False, "x": x, "align": "center"}
        font = {"size": 10.5}
        figure.add_annotation(text=f"<b>{wrapped(name)}</b>", y=1.09, yanchor="bottom", font=font, **label)
        for value in axis.ticks:
            text = wrapped(show(value) if isinstance(value, float) else str(value))
            small = {"size": 10.5}
            left = x == len(axes) - 1
            figure.add_annotation(
                text=text,
                y=axis.height(value),
                font=small,
                **label | {"xanchor": "left", "xshift": 4, "align": "left"}
                if left
                else label | {"xanchor": "right", "xshift": -4, "align": "right"},
            )
    return figure.update_layout(
        height=470,
        margin={"l": 50, "r": 50, "t": 40, "b": 10},
        legend={"y": -0.02, "yanchor": "top"},
        xaxis={"visible": False, "range": [-0.3, len(axes) - 0.7], "fixedrange": True},
        yaxis={"visible": False, "range": [-0.08, 1.22], "fixedrange": True},
    )


@dataclass(frozen=True)
class _Share:
    """A group of trials in a figure, and its line style."""

    name: str
    colour: str
    width: float
    opacity: float


def _thirds(ordered: Sequence[Trial], winner: Trial | None) -> Iterable[tuple[_Share, list[Trial]]]:
    """The trials in three groups from worst to best, and the winner as a group of its own."""
    others = [trial for trial in ordered if winner is None or trial.number != winner.number]
    third = math.ceil(len(others) / 3)
    shares = (
        _Share("worst third", COLOURS["stopped"], 1.0, 0.45),
        _Share("middle third", "#7fa9e2", 1.3, 0.7),
        _Share("best third", COLOURS["complete"], 1.8, 0.9),
    )
    for i, share in enumerate(shares):
        yield share, others[i * third : (i + 1) * third]
    if winner is not None:
        yield _Share(NAMES["winner"], COLOURS["winner"], 3.2, 1.0), [winner]


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
    names = list(space.dimensions)
    n_rows = math.ceil(len(names) / _SLICE_COLUMNS)
    figure = make_subplots(
        rows=n_rows,
        cols=_SLICE_COLUMNS,
        shared_yaxes=True,
        horizontal_spacing=0.025,
        vertical_spacing=0.36 / n_rows if n_rows > 1 else 0,
    )
    for i, name in enumerate(names):
        row, column = i // _SLICE_COLUMNS + 1, i % _SLICE_COLUMNS + 1
        for kind, trials in by_outcome(study, winner):
            shown = [trial for trial in trials if trial.values and name in trial.params]
            figure.add_trace(
                Scatter(
                    x=[_position(space.dimensions[name], trial.params[name]) for trial in shown],
                    y=[trial.best(study.mode) for trial in shown],
                    name=NAMES[kind],
                    legendgroup=kind,
                    showlegend=i == 0 and any(trial.values for trial in trials),
                    mode="markers",
                    marker=marker(kind),
                    text=[f"trial {trial.number}, {name} {show(trial.params[name])}" for trial in shown],
                    hovertemplate="%{text}: %{y:.4f}<extra></extra>",
                ),
                row=row,
                col=column,
            )
        figure.update_xaxes(_slice_axis(name, space.dimensions[name]), row=row, col=column)
    figure.update_yaxes(zeroline=False)
    figure.update_yaxes(title={"text": objective}, col=1)
    return figure.update_layout(height=70 + 215 * n_rows)


def _position(dimension: Dimension, value: Scalar) -> Scalar:
    return str(value) if isinstance(dimension, Choice) else value


def _slice_axis(name: str, dimension: Dimension) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": name, "standoff": 4}, "zeroline": False, "tickangle": 0}
    match dimension:
        case Choice(choices=choices):
            order = [str(choice) for choice in choices]
            own = {"type": "category", "categoryorder": "array", "categoryarray": order}
            ticks = {"tickvals": order, "ticktext": [wrapped(choice) for choice in order]}
            return axis | own | ticks | {"range": [-0.5, len(order) - 0.5]}
        case IntRange(low=low, high=high, log=True) | FloatRange(low=low, high=high, log=True):
            margin = 0.05 * math.log10(high / low)
            ends = [math.log10(low) - margin, math.log10(high) + margin]
            return axis | {"type": "log", "range": ends, **log_ticks(low, high)}
        case IntRange(low=low, high=high) | FloatRange(low=low, high=high):
            margin = 0.05 * (high - low)
            return axis | {"range": [low - margin, high + margin]}
