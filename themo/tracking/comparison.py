"""Predefined view of an experiment in MLflow: chosen runs side by side, on chosen axes.

MLflow keeps a shared view as a tag of the experiment, ``mlflow.sharedViewState.KEY``, and opens it by
``?viewStateShareKey=KEY`` (3.17; its page reads the state as plain JSON too). The view draws parallel
coordinates: a run that lacks one of the settings is missing there. Its list of runs has `PAGE` of them, and
a button for as many more; the chart shows those of the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from themo.tracking.names import metric_name

VIEW_TAG = "mlflow.sharedViewState."
UI_ADDRESS = "http://127.0.0.1:5000"
"""Default address of ``mlflow ui``."""

PAGE = 100
"""Number of runs that MLflow's page loads at once."""

_CHART, _SECTION = "themo-chart", "themo-section"
_HEIGHT = 520
"""Height of the chart, in pixels."""


def parallel_coordinates(
    where: str, params: Sequence[str], metric: str, n_runs: int = 0, others: Sequence[str] = ()
) -> dict[str, Any]:
    """The state of a view with one chart of parallel coordinates.

    Args:
        where: MLflow's filter of the runs, such as ``tags.`a` = 'b'``.
        params: The settings with an axis, by the names of the runs' params.
        metric: The metric of the last axis and the colours, by Themo's name; the best runs come first.
        n_runs: Number of runs so far.
        others: Further metrics with an axis, before the last one.
    """
    name = metric_name(metric)
    metrics = [*map(metric_name, others), name]
    chart = {
        "type": "PARALLEL",
        "uuid": _CHART,
        "metricSectionId": _SECTION,
        "selectedParams": list(params),
        "selectedMetrics": metrics,
        "showAllRuns": True,
        "runsCountToCompare": 10,
        "deleted": False,
        "isGenerated": False,
    }
    section = {
        "uuid": _SECTION,
        "name": _title(n_runs),
        "columns": 1,
        "cardHeight": _HEIGHT,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }
    return {
        "searchFilter": where,
        "orderByKey": f"metrics.`{name}`",
        "orderByAsc": metric.endswith("loss"),
        "compareRunCharts": [chart],
        "compareRunSections": [section],
        "isAccordionReordered": True,  # before the sections that MLflow adds, one a group of metrics
        "runsHiddenMode": "SHOW_ALL",
        "selectedColumns": [f"params.`{param}`" for param in params] + [f"metrics.`{m}`" for m in metrics],
    }


def _title(n_runs: int) -> str:
    """The title above the chart, which MLflow cuts after some 25 characters."""
    if n_runs <= PAGE:
        return "Settings of the trials"
    return f"Best {PAGE} of {n_runs}: Load more, below the list of runs, adds {PAGE}"


def view_address(server: str, experiment_id: str, key: str) -> str:
    """The page of a shared view, drawn as charts.

    Args:
        server: Address of the server, or `UI_ADDRESS`.
        experiment_id: MLflow's id of the experiment.
        key: Key of the view.
    """
    page = f"{server.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs"
    return f"{page}?viewStateShareKey={quote(key)}&compareRunsMode=CHART"
