"""The figures of a test's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots

from themo.evaluation.intervals import wilson_interval
from themo.evaluation.report.panels import Grid, Panel, layout_axes, trace_axes
from themo.evaluation.report.tables import ROW_NAMES
from themo.evaluation.score_names import ACCURACY, CEILING, RETRIEVAL, STUDENT
from themo.evaluation.scores import N_FOUND, Scores

COLOURS = {STUDENT: "#3b7dd8", CEILING: "#8a94a3"}
"""Colours of the rows that every report has."""
_OTHERS = ("#e8890c", "#1f9d68", "#8b5cf6")

ABOVE = {"y": 1, "yref": "container", "yanchor": "top"}
"""Place of the legend of a figure of panels: above their titles."""

_LABELS = 118
"""Pixels for the names of values left of a panel."""


@dataclass(frozen=True)
class Share:
    """Share of right answers of a row, over some queries.

    Attributes:
        label: Name of the queries.
        hits: Number of right answers.
        n: Number of queries, at least one.
    """

    label: str
    hits: int
    n: int


def found_by_place(scores: Scores) -> Figure:
    """Draw the share of queries with the right answer among the first k, for each k and row."""
    titles = {RETRIEVAL: "Retrieval: images found by caption", ACCURACY: "Accuracy: classes found by image"}
    figure = Figure()
    places = list(range(1, N_FOUND + 1))
    layout: dict[str, Any] = {}
    for i, task in enumerate(scores.ranks):
        for row, colour in colours(scores.rows).items():
            figure.add_trace(
                Scatter(
                    x=places,
                    y=[scores.share(row, task, k) for k in places],
                    name=ROW_NAMES.get(row, row),
                    legendgroup=row,
                    showlegend=i == 0,
                    mode="lines+markers",
                    line={"color": colour, "width": 3 if row == STUDENT else 1.8},
                    marker={"size": 6},
                    hovertemplate="among the first %{x}: %{y:.3f}<extra>"
                    + ROW_NAMES.get(row, row)
                    + "</extra>",
                    **trace_axes(i),
                )
            )
        x = {"title": {"text": "k, number of answers"}, "dtick": 1, "zeroline": False}
        y = {"title": {"text": "share with the right answer"}, "zeroline": False}
        layout |= layout_axes(i, x, y if i == 0 else {"zeroline": False})
    grid = Grid([Panel(titles[task], 260) for task in scores.ranks], columns=2, least=300, gap=60, below=True)
    return figure.update_layout(meta=grid.to_meta(), legend=ABOVE, **layout)


def quality_against_cost(sizes: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw retrieval@01 of each form of a student against its megabytes and against its time of a text.

    Args:
        sizes: Values by form, as in ``test.json``.
    """
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    for column, (key, title) in enumerate((("megabytes", "MB"), ("ms_a_text", "ms per text")), start=1):
        figure.add_trace(
            Scatter(
                x=[size[key] for size in sizes.values()],
                y=[size["retrieval@01"] for size in sizes.values()],
                text=list(sizes),
                mode="markers+text",
                textposition="bottom center",
                showlegend=False,
                marker={"size": 9, "color": [COLOURS.get(name, _OTHERS[0]) for name in sizes]},
                hovertemplate="%{text}: %{y:.3f}, %{x:.3g} " + title + "<extra></extra>",
            ),
            row=1,
            col=column,
        )
        figure.update_xaxes(title={"text": f"{title}, logarithmic"}, type="log", zeroline=False, col=column)
    figure.update_yaxes(title={"text": "retrieval@01"}, zeroline=False, col=1)
    return figure.update_layout(height=380, margin={"t": 30})


def shares(fields: Mapping[str, Mapping[str, Sequence[Share]]], columns: int, names: str) -> Figure:
    """Draw shares with their 95 % intervals, one field per attribute and one line per value.

    Args:
        fields: Title of the field to row to its shares; all rows have the same labels.
        columns: Fields side by side.
        names: Title of the horizontal axis.
    """
    figure = Figure()
    layout: dict[str, Any] = {}
    for i, of_row in enumerate(fields.values()):
        chosen = colours(tuple(of_row))
        for j, (row, values) in enumerate(of_row.items()):
            name = ROW_NAMES.get(row, row)
            offset = 0.16 * ((len(of_row) - 1) / 2 - j)  # rows above each other, without overlap
            figure.add_trace(
                Scatter(
                    x=[value.hits / value.n for value in values],
                    y=[len(values) - 1 - at + offset for at in range(len(values))],
                    error_x=_intervals(values),
                    name=name,
                    legendgroup=row,
                    showlegend=i == 0,
                    mode="markers",
                    marker={"color": chosen[row], "size": 8 if row == STUDENT else 6.5},
                    text=[f"{value.label}: {value.hits:,} of {value.n:,}" for value in values],
                    hovertemplate="%{text}, %{x:.3f}<extra>" + name + "</extra>",
                    **trace_axes(i),
                )
            )
        labels = [value.label for value in next(iter(of_row.values()))]
        x = {"title": {"text": names}, "zeroline": False, **({"matches": "x"} if i else {})}
        y = {
            "tickvals": list(range(len(labels) - 1, -1, -1)),
            "ticktext": labels,
            "range": [-0.6, len(labels) - 0.4],
            "zeroline": False,
        }
        layout |= layout_axes(i, x, y)
    heights = [30 + 24 * len(next(iter(of_row.values()))) for of_row in fields.values()]
    panels = [Panel(title, height) for title, height in zip(fields, heights, strict=True)]
    grid = Grid(panels, columns=columns, least=200, gap=_LABELS, left=_LABELS, between=60, below=True)
    return figure.update_layout(meta=grid.to_meta(), legend=ABOVE, **layout)


def _intervals(values: Sequence[Share]) -> dict[str, Any]:
    """Plotly's error bars of the 95 % intervals of some shares."""
    points = [value.hits / value.n for value in values]
    intervals = [wilson_interval(value.hits, value.n) for value in values]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - point for (_, high), point in zip(intervals, points, strict=True)],
        "arrayminus": [point - low for (low, _), point in zip(intervals, points, strict=True)],
        "thickness": 1.4,
        "width": 0,
    }


def share_of(label: str, right: NDArray[np.bool_], among: NDArray[np.bool_]) -> Share:
    """Return the share of (N,) bool `right` among the queries of (N,) bool `among`."""
    return Share(label, int((right & among).sum()), int(among.sum()))


def colours(rows: Sequence[str]) -> dict[str, str]:
    """Return a colour for each row of scores; the student is drawn last, on top."""
    others = [row for row in rows if row not in COLOURS]
    chosen = {row: _OTHERS[i % len(_OTHERS)] for i, row in enumerate(others)} | COLOURS
    return {row: chosen[row] for row in (*others, CEILING, STUDENT) if row in rows}
