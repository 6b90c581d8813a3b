"""The figures of a search's report. Colours stand for what became of a trial, the same in all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from plotly.graph_objects import Bar, Figure, Scatter
from plotly.subplots import make_subplots

from tune.report.facts import Fate, Importance, Lane, Rung, fate
from tune.results import show
from tune.space import Scalar, Space
from tune.study import Mode, Study, Trial

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
_GREY = "#8a94a3"
_SLICE_COLUMNS = 4


def history(study: Study, winner: Trial | None, objective: str) -> Figure:
    """Best objective of each trial, and the best so far."""
    figure = Figure()
    best_so_far: list[float] = []
    numbers: list[int] = []
    pick = max if study.mode == "max" else min
    for trial in study:
        if (best := trial.best(study.mode)) is not None:
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
    for kind, trials in _by_fate(study, winner):
        shown = [trial for trial in trials if trial.values]
        figure.add_trace(
            Scatter(
                x=[trial.number for trial in shown],
                y=[trial.best(study.mode) for trial in shown],
                name=NAMES[kind],
                mode="markers",
                marker=_marker(kind),
                text=[_about(trial, study.mode) for trial in shown],
                hovertemplate="%{text}<extra></extra>",
                showlegend=bool(shown),
            )
        )
    return figure.update_layout(
        height=380,
        xaxis={"title": {"text": "trial, in the order of proposal"}, "zeroline": False},
        yaxis={"title": {"text": objective}, "zeroline": False},
    )


def learning_curves(study: Study, winner: Trial | None, objective: str, stops: Sequence[Rung]) -> Figure:
    """Objective of every trial by the sentence pairs that it has seen."""
    figure = Figure()
    for kind, trials in _by_fate(study, winner):
        xs: list[float | None] = []
        ys: list[float | None] = []
        texts: list[str | None] = []
        shown = [trial for trial in trials if trial.values]
        for trial in shown:  # one trace a fate, lines parted by a gap: a thousand trials stay light
            points = sorted(trial.values.items())
            xs += [pairs for pairs, _ in points] + [None]
            ys += [value for _, value in points] + [None]
            texts += [f"trial {trial.number}"] * len(points) + [None]
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
                hovertemplate="%{text}: %{y:.4f} after %{x:,.0f} pairs<extra></extra>",
                showlegend=bool(shown),
            )
        )
    for rung in stops:
        figure.add_vline(x=rung.pairs, line={"color": _GREY, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=math.log10(rung.pairs),
            y=1,
            yref="paper",
            text=f"rung at {rung.pairs:,}",
            font={"size": 11, "color": _GREY},
            showarrow=False,
            xanchor="left",
            yanchor="bottom",
        )
    seen = [pairs for trial in study for pairs in trial.values]
    return figure.update_layout(
        height=440,
        xaxis={
            "title": {"text": "sentence pairs seen, logarithmic"},
            "type": "log",
            **_log_ticks(min(seen), max(seen)),
        },
        yaxis={"title": {"text": objective}, "zeroline": False},
        legend={"y": 1.08},
    )


def rung_strips(study: Study, stops: Sequence[Rung], winner: Trial | None, objective: str) -> Figure:
    """What each trial had reached at each rung, in the order of proposal, and whether it went on."""
    figure = Figure()
    groups: list[tuple[str, str, str]] = [
        ("stopped there", COLOURS["stopped"], "x-thin-open"),
        ("went on", COLOURS["complete"], "circle"),
        ("the best", COLOURS["winner"], "diamond"),
    ]
    n = max(1, len(study) - 1)
    for name, colour, symbol in groups:
        xs, ys, texts = [], [], []
        for position, rung in enumerate(stops):
            for number, value in rung.reached.items():
                is_winner = winner is not None and number == winner.number
                belongs = (
                    "the best" if is_winner else "stopped there" if number in rung.stopped else "went on"
                )
                if belongs == name:
                    xs.append(position - 0.36 + 0.72 * number / n)
                    ys.append(value)
                    texts.append(f"trial {number}: {value:.4f} at {rung.pairs:,} pairs, {name}")
        marker: dict[str, Any] = {"color": colour, "symbol": symbol, "size": 8 if symbol == "circle" else 9}
        if symbol == "x-thin-open":
            marker["line"] = {"width": 1.8, "color": colour}
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
        figure.add_vline(x=position + 0.5, line={"color": _GREY, "width": 1, "dash": "dot"})
    return figure.update_layout(
        height=400,
        xaxis={
            "tickvals": list(range(len(stops))),
            "ticktext": [
                f"{rung.pairs:,} pairs<br>{len(rung.reached)} came, {len(rung.stopped)} stopped"
                for rung in stops
            ],
            "range": [-0.5, len(stops) - 0.5],
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={"title": {"text": f"best {objective} so far"}, "zeroline": False},
    )


def parallel_coordinates(study: Study, winner: Trial | None, space: Space, objective: str) -> Figure:
    """Every trial as a line over the axes of all searched settings, to its best objective on the last axis.

    Drawn as plain lines: Optuna's figure sorts the axes by name and has colours for white paper only, and
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
            told = [(x, axis, values[name]) for x, (name, axis) in enumerate(axes.items()) if name in values]
            spread = 0.05 * (trial.number / max(1, len(study) - 1) - 0.5)  # equal choices side by side
            xs += [x for x, _, _ in told] + [None]
            ys += [axis.height(value) + (spread if axis.is_choice else 0) for _, axis, value in told] + [None]
            texts += [_about(trial, study.mode)] * len(told) + [None]
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
        line = {"color": _GREY, "width": 1}
        figure.add_shape(type="line", x0=x, x1=x, y0=-0.04, y1=1.04, line=line, layer="below")
        label = {"showarrow": False, "x": x, "align": "center"}
        font = {"size": 10.5}
        figure.add_annotation(text=f"<b>{_wrapped(name)}</b>", y=1.09, yanchor="bottom", font=font, **label)
        for value in axis.ticks:
            text = _wrapped(show(value) if isinstance(value, float) else str(value))
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
    """Some of the trials of one figure, and how they are drawn."""

    name: str
    colour: str
    width: float
    opacity: float


def _thirds(ordered: Sequence[Trial], winner: Trial | None) -> Iterable[tuple[_Share, list[Trial]]]:
    """The trials, from the worst to the best, parted in three, and the winner alone."""
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


@dataclass(frozen=True)
class Axis:
    """A searched setting, or the objective, as an axis from 0 to 1.

    Attributes:
        ticks: Values that are written at it.
        low, high: Its ends; logarithms where it is logarithmic.
        is_log: Whether it is logarithmic.
        choices: Where it is a choice, these.
    """

    ticks: tuple[Scalar, ...]
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False
    choices: tuple[Scalar, ...] = ()

    @classmethod
    def of(cls, dimension: BaseDistribution) -> Axis:
        """The axis of a dimension of the space."""
        match dimension:
            case CategoricalDistribution(choices=choices):
                return cls(tuple(choices), choices=tuple(choices))
            case (
                IntDistribution(low=low, high=high, log=log) | FloatDistribution(low=low, high=high, log=log)
            ):
                return cls.between(low, high, log)
            case _:
                raise TypeError(f"no dimension of a search space: {dimension!r}")

    @classmethod
    def between(cls, low: float, high: float, is_log: bool = False) -> Axis:
        """The axis of a range."""
        if not is_log:
            return cls((low, high), low, high)
        inner = [tick for tick in _log_ticks(low, high)["tickvals"] if 1.6 * low < tick < high / 1.6]
        return cls((low, *inner, high), math.log(low), math.log(high), is_log=True)

    @property
    def is_choice(self) -> bool:
        """Whether it has names and no numbers."""
        return bool(self.choices)

    def height(self, value: Scalar) -> float:
        """Where a value lies, from 0 to 1."""
        if self.is_choice:
            return 0.5 if len(self.choices) == 1 else self.choices.index(value) / (len(self.choices) - 1)
        number = float(value or 0)
        return ((math.log(number) if self.is_log else number) - self.low) / (self.high - self.low)


def _log_ticks(low: float, high: float) -> dict[str, list[Any]]:
    """Ticks of a logarithmic axis: powers of ten, or 1, 2, 5 where it has few of these."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if math.log10(high / low) > 2.2 else (1, 2, 5)
    ticks = [step * 10.0**power for power in powers for step in steps]
    return {
        "tickvals": ticks,
        "ticktext": [f"{tick:,.0f}" if tick >= 1000 else f"{tick:g}" for tick in ticks],
    }


def _wrapped(text: str) -> str:
    """A long name in two lines."""
    if len(text) < 10:
        return text
    breaks = [
        i + (text[i] in "_/") for i, sign in enumerate(text) if sign in "_/+-" and 0 < i < len(text) - 1
    ]
    if not breaks:
        return text
    middle = min(breaks, key=lambda i: abs(i - len(text) / 2))
    return f"{text[:middle]}<br>{text[middle:]}"


def importance_bars(found: Sequence[Importance]) -> Figure:
    """Importance of each setting beside what chance gives."""
    shown = list(reversed(found))
    figure = Figure(
        Bar(
            x=[item.share for item in shown],
            y=[item.name for item in shown],
            orientation="h",
            name="importance",
            marker={"color": [COLOURS["complete"] if item.is_told else COLOURS["stopped"] for item in shown]},
            hovertemplate="%{y}: %{x:.2f}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_trace(
        Scatter(
            x=[item.chance for item in shown],
            y=[item.name for item in shown],
            name="chance: 95 of 100 shuffles stay below",
            mode="markers",
            marker={"symbol": "line-ns-open", "size": 16, "color": COLOURS["winner"], "line": {"width": 2}},
            hovertemplate="%{y}: chance %{x:.2f}<extra></extra>",
        )
    )
    return figure.update_layout(
        height=110 + 26 * len(shown),
        bargap=0.35,
        xaxis={"title": {"text": "share of importance"}, "rangemode": "tozero"},
        yaxis={"showgrid": False},
    )


def slices(study: Study, winner: Trial | None, space: Space, objective: str) -> Figure:
    """Best objective of each trial over each searched setting, a small plot a setting."""
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
        for kind, trials in _by_fate(study, winner):
            shown = [trial for trial in trials if trial.values and name in trial.params]
            figure.add_trace(
                Scatter(
                    x=[_position(space.dimensions[name], trial.params[name]) for trial in shown],
                    y=[trial.best(study.mode) for trial in shown],
                    name=NAMES[kind],
                    legendgroup=kind,
                    showlegend=i == 0 and any(trial.values for trial in trials),
                    mode="markers",
                    marker=_marker(kind),
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


def time_line(found: Sequence[Lane], winner: Trial | None, mode: Mode) -> Figure:
    """A bar a trial in the lane of its slot, over the time since the first one began."""
    start = min(trial.started or 0.0 for lane in found for trial in lane.trials)
    end = max(trial.ended or start for lane in found for trial in lane.trials)
    unit, seconds = (
        ("hours", 3600.0)
        if end - start > 7200
        else ("minutes", 60.0)
        if end - start > 120
        else ("seconds", 1.0)
    )
    figure = Figure()
    for kind in COLOURS:
        bars = [(lane.name, trial) for lane in found for trial in lane.trials if fate(trial, winner) == kind]
        figure.add_trace(
            Bar(
                y=[name for name, _ in bars],
                base=[((trial.started or start) - start) / seconds for _, trial in bars],
                x=[((trial.ended or start) - (trial.started or start)) / seconds for _, trial in bars],
                orientation="h",
                name=NAMES[kind],
                marker={"color": COLOURS[kind], "line": {"color": "rgba(127,127,127,.35)", "width": 1}},
                text=[str(trial.number) for _, trial in bars],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                insidetextfont={"color": "white", "size": 11},
                customdata=[_about(trial, mode) for _, trial in bars],
                hovertemplate="%{customdata}<extra></extra>",
                showlegend=bool(bars),
            )
        )
    return figure.update_layout(
        height=120 + 46 * len(found),
        barmode="overlay",
        uniformtext={"minsize": 9, "mode": "hide"},
        bargap=0.25,
        xaxis={"title": {"text": f"{unit} since the first trial began"}, "zeroline": False},
        yaxis={
            "categoryorder": "array",
            "categoryarray": [lane.name for lane in reversed(found)],
            "showgrid": False,
        },
    )


def _by_fate(study: Study, winner: Trial | None) -> Iterable[tuple[Fate, list[Trial]]]:
    for kind in COLOURS:
        yield kind, [trial for trial in study if fate(trial, winner) == kind]


def _marker(kind: Fate) -> dict[str, object]:
    symbol = {"winner": "diamond", "failed": "x"}.get(kind, "circle")
    return {"color": COLOURS[kind], "symbol": symbol, "size": 11 if kind == "winner" else 7.5}


def _about(trial: Trial, mode: Mode) -> str:
    """What a reader wants to know of a trial that the pointer is on."""
    value = trial.best(mode)
    best = "no report" if value is None else f"{value:.4f}"
    settings = "<br>".join(f"{name} {show(value)}" for name, value in trial.params.items())
    ended = trial.reason or trial.state.lower()
    return f"<b>trial {trial.number}</b>: {best} after {trial.pairs_seen:,} pairs, {ended}<br>{settings}"


def _position(dimension: BaseDistribution, value: Scalar) -> Scalar:
    return str(value) if isinstance(dimension, CategoricalDistribution) else value


def _slice_axis(name: str, dimension: BaseDistribution) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": name, "standoff": 4}, "zeroline": False, "tickangle": 0}
    match dimension:
        case CategoricalDistribution(choices=choices):
            order = [str(choice) for choice in choices]
            own = {"type": "category", "categoryorder": "array", "categoryarray": order}
            ticks = {"tickvals": order, "ticktext": [_wrapped(choice) for choice in order]}
            return axis | own | ticks | {"range": [-0.5, len(order) - 0.5]}
        case IntDistribution(low=low, high=high, log=True) | FloatDistribution(low=low, high=high, log=True):
            margin = 0.05 * math.log10(high / low)
            ends = [math.log10(low) - margin, math.log10(high) + margin]
            return axis | {"type": "log", "range": ends, **_log_ticks(low, high)}
        case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
            margin = 0.05 * (high - low)
            return axis | {"range": [low - margin, high + margin]}
        case _:
            raise TypeError(f"no dimension of a search space: {dimension!r}")
