"""The figure of a search with two objectives: objective against cost, with the front."""

from __future__ import annotations

from collections.abc import Sequence

from plotly.graph_objects import Figure, Scatter

from tune.results.report.axes import log_ticks
from tune.results.report.course_figures import SCALED
from tune.results.report.outcomes import COLOURS, NAMES, by_outcome, hover_text, marker
from tune.space.search_settings import SecondObjective
from tune.study.front import UNITS
from tune.study.study import Study
from tune.study.trial_record import Trial


def quality_against_cost(
    study: Study, winner: Trial | None, front: Sequence[Trial], objective: str, second: SecondObjective
) -> Figure:
    """Best objective of each trial against its cost, and a line along the front.

    Args:
        study: The record.
        winner: The winner, or the best trial so far.
        front: The trials on the front, by cost; at least one.
        objective: Name of the objective.
        second: The second objective.
    """
    figure = Figure()
    figure.add_trace(
        Scatter(
            x=[trial.cost for trial in front],
            y=[trial.best(study.mode) for trial in front],
            name="front",
            mode="lines",
            line={"shape": "hv", "color": COLOURS["winner"], "width": 1.5, "dash": "dot"},
            hoverinfo="skip",
        )
    )
    for kind, trials in by_outcome(study, winner):
        shown = [trial for trial in trials if trial.values and trial.cost is not None]
        figure.add_trace(
            Scatter(
                x=[trial.cost for trial in shown],
                y=[trial.best(study.mode) for trial in shown],
                name=NAMES[kind],
                showlegend=bool(shown),
                mode="markers",
                marker=marker(kind),
                text=[
                    f"{hover_text(trial, study.mode)}<br>{trial.cost:.3g} {UNITS[second]}" for trial in shown
                ],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    costs = [trial.cost for trial in study if trial.cost is not None]
    axis = {"title": {"text": f"{UNITS[second]}, logarithmic"}, "type": "log", "zeroline": False}
    return figure.update_layout(
        height=420,
        meta=SCALED,
        xaxis={**axis, **log_ticks(min(costs), max(costs))},
        yaxis={"title": {"text": f"best {objective}"}, "zeroline": False},
    )
