"""Figures of a search's progress: best objective, learning curves, rungs, time line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from plotly.graph_objects import Bar, Figure, Scatter

from tune.results.report.axes import log_ticks
from tune.results.report.facts import Lane, Rung, outcome
from tune.results.report.outcomes import (
    COLOURS,
    GREY,
    NAMES,
    by_outcome,
    decision_line,
    hover_text,
    marker,
    plain,
)
from tune.space.search_settings import Resource
from tune.study.resource import NAMES_OF_RESOURCES, curve_of, in_words
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial

SCALED = {"scaled": ["y"]}
"""Meta of a figure whose vertical axis is the objective: the script of the page applies the chosen scale."""

_FEW = 12
"""Trials up to which each has a tick; with more, plotly's own ticks are whole numbers."""


def history(study: Study, winner: Trial | None, objective: str) -> Figure:
    """Best objective of each trial, and the best so far."""
    figure = Figure()
    best_so_far: list[float] = []
    numbers: list[int] = []
    pick = max if study.mode == "max" else min
    for trial in study:
        best = trial.best(study.mode)
        if best is not None and trial.is_scored:
            numbers.append(trial.number)
            best_so_far.append(pick(best_so_far[-1], best) if best_so_far else best)
    figure.add_trace(
        Scatter(
            x=numbers,
            y=best_so_far,
            name="best so far",
            mode="lines",
            line={"shape": "hv", "color": COLOURS["winner"], "width": 2},
            hoverinfo="skip",
        )
    )
    for kind, trials in by_outcome(study, winner):
        shown = [trial for trial in trials if trial.values]
        figure.add_trace(
            Scatter(
                x=[trial.number for trial in shown],
                y=[trial.best(study.mode) for trial in shown],
                name=NAMES[kind],
                mode="markers",
                marker=marker(kind),
                text=[hover_text(trial, study.mode) for trial in shown],
                hovertemplate="%{text}<extra></extra>",
                showlegend=bool(shown),
            )
        )
    return figure.update_layout(
        height=380,
        meta=SCALED,
        xaxis={
            "title": {"text": "trial, in the order of proposal"},
            "zeroline": False,
            "dtick": 1 if len(study) <= _FEW else None,  # else plotly's ticks may be at fractions
        },
        yaxis={"title": {"text": objective}, "zeroline": False},
    )


def learning_curves(
    study: Study, winner: Trial | None, objective: str, stops: Sequence[Rung], resource: Resource = "pairs"
) -> Figure:
    """Objective of every trial over the search's resource."""
    figure = Figure()
    precise = ",.0f} pairs" if resource == "pairs" else ",.4~r} s"
    for kind, trials in by_outcome(study, winner):
        xs: list[float | None] = []
        ys: list[float | None] = []
        texts: list[str | None] = []
        shown = [trial for trial in trials if trial.values]
        for trial in shown:  # one trace an outcome, lines separated by a gap: fast with a thousand trials
            points = sorted(curve_of(trial, resource).items())
            xs += [at for at, _ in points] + [None]
            ys += [value for _, value in points] + [None]
            texts += [f"trial {trial.number}"] * (len(points) - 1)
            texts += [f"{_end_of(trial)}trial {trial.number}", None]
        figure.add_trace(
            Scatter(
                x=xs,
                y=ys,
                name=NAMES[kind],
                mode="lines+markers",
                line={"color": COLOURS[kind], "width": 3 if kind == "winner" else 1.4},
                marker={
                    "size": 7 if kind == "winner" else 4.5,
                    "symbol": "x" if kind == "failed" else "circle",
                },
                opacity=0.75 if kind == "stopped" else 1,
                text=texts,
                customdata=ys,
                hovertemplate=f"%{{text}}: %{{customdata:.4f}} after %{{x:{precise}<extra></extra>",
                showlegend=bool(shown),
            )
        )
    for rung in stops:
        figure.add_vline(x=rung.at, line={"color": GREY, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=math.log10(rung.at),
            y=1,
            yref="paper",
            text=in_words(rung.at, resource).removesuffix(" pairs"),
            font={"size": 11, "color": GREY},
            showarrow=False,
            xanchor="left",
            yanchor="bottom",
        )
    seen = [at for trial in study for at in curve_of(trial, resource)]
    return figure.update_layout(
        height=440,
        meta=SCALED,
        xaxis={
            "title": {"text": f"{NAMES_OF_RESOURCES[resource]} (logarithmic scale)"},
            "type": "log",
            **log_ticks(min(seen), max(seen)),
        },
        yaxis={"title": {"text": objective}, "zeroline": False},
        legend={"y": 1.08},
    )


def _end_of(trial: Trial) -> str:
    """The reason for which a curve ends, as the first line of its last point's hover text."""
    return f"<b>{plain(trial.reason)}</b>{decision_line(trial)}<br>" if trial.reason else ""


def _group(rung: Rung, number: int, winner: Trial | None) -> str:
    if winner is not None and number == winner.number:
        return "the best"
    return "stopped" if number in rung.stopped else "paused" if number in rung.waiting else "continued"


def rung_strips(
    study: Study, stops: Sequence[Rung], winner: Trial | None, objective: str, resource: Resource = "pairs"
) -> Figure:
    """Best objective of each trial at each rung, in the order of proposal, and whether it continued."""
    figure = Figure()
    groups: list[tuple[str, str, str]] = [
        ("stopped", COLOURS["stopped"], "x-thin-open"),
        ("paused", COLOURS["running"], "circle-open"),
        ("continued", COLOURS["complete"], "circle"),
        ("the best", COLOURS["winner"], "diamond"),
    ]
    n = max(1, len(study) - 1)
    for name, colour, symbol in groups:
        xs, ys, texts = [], [], []
        for position, rung in enumerate(stops):
            for number, value in rung.reached.items():
                if _group(rung, number, winner) == name:
                    xs.append(position - 0.36 + 0.72 * number / n)
                    ys.append(value)
                    text = f"trial {number}: {value:.4f} at {in_words(rung.at, resource)}, {name}"
                    texts.append(
                        text + (decision_line(study[number]) if name in ("stopped", "paused") else "")
                    )
        marker: dict[str, Any] = {"color": colour, "symbol": symbol, "size": 8 if symbol == "circle" else 9}
        if symbol == "x-thin-open":
            marker["line"] = {"width": 1.8, "color": colour}
        if name == "paused" and not xs:  # most searches pause no trial
            continue
        figure.add_trace(
            Scatter(
                x=xs,
                y=ys,
                name=name,
                mode="markers",
                marker=marker,
                text=texts,
                hovertemplate="%{text}<extra></extra>",
            )
        )
    for position in range(len(stops) - 1):
        figure.add_vline(x=position + 0.5, line={"color": GREY, "width": 1, "dash": "dot"})
    return figure.update_layout(
        height=400,
        meta=SCALED,
        xaxis={
            "tickvals": list(range(len(stops))),
            "ticktext": [
                f"{in_words(rung.at, resource).removesuffix(' pairs')}<br>"
                f"{len(rung.stopped)} of {len(rung.reached)}"
                for rung in stops
            ],
            "tickangle": 0,
            "title": {"text": f"rung in {NAMES_OF_RESOURCES[resource]}<br>stopped of reached"},
            "range": [-0.5, len(stops) - 0.5],
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"title": {"text": f"best {objective} so far"}, "zeroline": False},
    )


def time_line(found: Sequence[Lane], winner: Trial | None, mode: Mode) -> Figure:
    """A bar for each attempt at a trial, in the lane of its slot, over time since the first start."""
    start = min(attempt.started for lane in found for _, attempt in lane.turns)
    end = max(attempt.ended for lane in found for _, attempt in lane.turns)
    unit, seconds = (
        ("hours", 3600.0)
        if end - start > 7200
        else ("minutes", 60.0)
        if end - start > 120
        else ("seconds", 1.0)
    )
    figure = Figure()
    for kind in COLOURS:
        bars = [
            (lane.name, trial, attempt)
            for lane in found
            for trial, attempt in lane.turns
            if outcome(trial, winner) == kind
        ]
        figure.add_trace(
            Bar(
                y=[name for name, _, _ in bars],
                base=[(attempt.started - start) / seconds for _, _, attempt in bars],
                x=[(attempt.ended - attempt.started) / seconds for _, _, attempt in bars],
                orientation="h",
                name=NAMES[kind],
                marker={"color": COLOURS[kind], "line": {"color": "rgba(127,127,127,.35)", "width": 1}},
                text=[str(trial.number) for _, trial, _ in bars],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                insidetextfont={"size": 11},  # Plotly takes the colour that contrasts with the bar,
                customdata=[hover_text(trial, mode) for _, trial, _ in bars],
                hovertemplate="%{customdata}<extra></extra>",
                showlegend=bool(bars),
            )
        )
    return figure.update_layout(
        height=120 + 46 * len(found),
        barmode="overlay",
        uniformtext={"minsize": 9, "mode": "hide"},
        bargap=0.25,
        xaxis={"title": {"text": f"{unit} since the first trial started"}, "zeroline": False},
        yaxis={
            "categoryorder": "array",
            "categoryarray": [lane.name for lane in reversed(found)],
            "showgrid": False,
        },
    )
