"""The view of MLflow's page; its look is tested in a browser by `test_reports_of_commands`."""

from __future__ import annotations

import json

from themo.tracking.comparison import UI_ADDRESS, parallel_coordinates, view_address

MOST = 5000
"""Characters of an experiment's tag."""


def test_a_view_names_its_runs_its_axes_and_its_order() -> None:
    view = parallel_coordinates("tags.a = 'b'", ["batch_size", "loss"], "best/val/match@01")
    (chart,), (section,) = view["compareRunCharts"], view["compareRunSections"]
    assert (view["searchFilter"], view["orderByKey"]) == ("tags.a = 'b'", "metrics.`best/val/match_at_01`")
    assert view["orderByAsc"] is False
    assert (chart["selectedParams"], chart["selectedMetrics"]) == (
        ["batch_size", "loss"],
        ["best/val/match_at_01"],
    )
    assert chart["metricSectionId"] == section["uuid"]
    assert parallel_coordinates("", [], "best/val/loss")["orderByAsc"] is True


def test_more_runs_than_a_page_are_named_in_the_title() -> None:
    few, many = (
        parallel_coordinates("", [], "best/val/loss", n)["compareRunSections"][0] for n in (100, 120)
    )
    assert few["name"] == "Settings of the trials"
    assert many["name"] == "Best 100 of 120: Load more, below the list of runs, adds 100"


def test_a_view_of_many_settings_fits_a_tag() -> None:
    view = parallel_coordinates(
        "tags.a = 'b'", [f"a_setting_of_length_{i}" for i in range(40)], "best/val/loss"
    )
    assert len(json.dumps(view)) < MOST


def test_the_address_quotes_its_parts() -> None:
    page = f"{UI_ADDRESS}/#/experiments/1/runs?viewStateShareKey=a%20b&compareRunsMode=CHART"
    assert view_address(f"{UI_ADDRESS}/", "1", "a b") == page
