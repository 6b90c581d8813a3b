"""The runs of a search in MLflow, computed from its directory; with a server in `test_session`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from formula_search import a_search

from themo.files.disk_space import IMPATIENT
from themo.tracking.projection import Projection, Run
from tune.cluster.resources import Resources
from tune.results.mlflow_runs import SearchRuns, axes_of
from tune.space.dimensions import Choice
from tune.study.reports import ReadReports, ReportLog
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import Takeover

PARAMS = {"learn_rate": 0.001, "batch_size": 32}


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return a_search(tmp_path / "logs", "mine", Resources())


@pytest.fixture
def study(search: Search) -> Study:
    return Study(search.folder / "study.json", search.mode)


def report(
    search: Search, study: Study, number: int, pairs: int, value: float, at: int | None = None
) -> None:
    metrics = {"pairs_seen": float(pairs), search.objective: value}
    study.report(number, metrics, search.objective)
    study[number].ended = float(pairs)
    if at is not None:
        ReportLog(search.folder, IMPATIENT).append(str(number), at, metrics)


def by_name(search: Search, study: Study, *, is_running: bool = True) -> dict[str, Run]:
    study.save()
    return {run.name: run for run in SearchRuns(search, search.folder, is_running=is_running)().runs}


def best(search: Search, run: Run) -> list[tuple[int, float]]:
    assert [point.metrics["trials"] for point in run.points] == [point.step for point in run.points]
    return [(point.step, point.metrics[f"best/{search.objective}"]) for point in run.points]


def test_a_search_without_a_trial_has_no_runs(search: Search, study: Study) -> None:
    assert by_name(search, study) == {}


def test_a_running_search_is_a_parent_and_a_child_a_trial(search: Search, study: Study) -> None:
    for number in range(3):
        study.add(PARAMS)
        report(search, study, number, 100, 0.5, at=1000 * number)
    study.finish(0, "COMPLETE")
    study.finish(1, "PAUSED")
    study.save()
    projection = SearchRuns(search, search.folder, is_running=True)()
    parent, *children = projection.runs
    assert projection.group == ("themo.search", search.uid)
    assert (parent.name, parent.key, parent.status) == ("mine", search.uid, "RUNNING")
    assert parent.params == {"objective": search.objective, "search": "mine"}
    assert json.loads(parent.files["settings.json"])["uid"] == search.uid
    assert [child.status for child in children] == ["FINISHED", "RUNNING", "RUNNING"]
    assert [child.key for child in children] == [f"{search.uid}/{n}" for n in range(3)]
    assert children[0].params == {**PARAMS, "log10_learn_rate": -3.0}
    assert {child.parent for child in children} == {search.uid}
    assert [child.points[0].at for child in children] == [0, 1000, 2000]


def test_at_rest_no_run_is_open(search: Search, study: Study) -> None:
    for state in ("COMPLETE", "PAUSED", None):
        number = study.add(PARAMS).number
        report(search, study, number, 100, 0.5)
        if state is not None:
            study.finish(number, state)
    runs = by_name(search, study, is_running=False)
    assert [run.status for run in runs.values()] == ["KILLED", "FINISHED", "KILLED", "KILLED"]


def test_the_parent_says_why_trials_are_left_out(search: Search, study: Study) -> None:
    for _ in range(8):
        number = study.add(PARAMS).number
        report(search, study, number, 100, 0.5)
        study.finish(number, "COMPLETE")
    limits = {"num_samples": 9, "stop_gain": 0.01, "stop_chance": 0.5}
    for end, told in (({}, None), (limits, True), (limits | {"stop_chance": 0.2}, None)):
        ended = replace(search, space=search.space.searched_by(**end))
        parent = by_name(ended, study, is_running=False)["mine"]
        chance = 1 / (8 / 3 + 1)
        line = f"1 trial is left out: the chance of a gain above 0.01 in {search.objective} is {chance:.2g}"
        assert parent.tags.get("themo.early_end") == (told and f"{line}, below 0.5")
        assert "themo.early_end" in parent.owned


def test_a_child_has_all_metrics_of_each_report_once(search: Search, study: Study) -> None:
    study.add(PARAMS)
    for pairs, at in ((100, 1000), (200, 2000), (100, 3000), (200, 4000), (300, 5000)):  # a kill repeats some
        report(search, study, 0, pairs, pairs / 1000, at=at)
    points = by_name(search, study)["trial 0 of mine"].points
    assert [(point.step, point.at) for point in points] == [(100, 1000), (200, 2000), (300, 5000)]
    assert points[2].metrics == {"pairs_seen": 300.0, search.objective: 0.3}


def test_a_report_saved_while_the_record_is_read_has_all_metrics(
    search: Search, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.add(PARAMS)
    report(search, study, 0, 100, 0.1, at=1000)
    study.save()
    runs = SearchRuns(search, search.folder, is_running=True)
    runs()
    plain = ReadReports.look, Study.read
    due = [(200, 300), (400, 500)]  # before each of the two reads; the record keeps the last one's metrics

    def beginning() -> None:
        for pairs in due.pop(0) if due else ():
            report(search, study, 0, pairs, pairs / 1000, at=10 * pairs)
            study.save()

    def look(reports: ReadReports) -> None:
        beginning()
        plain[0](reports)

    def read(path: Path) -> Study:
        beginning()
        return plain[1](path)

    monkeypatch.setattr(ReadReports, "look", look)
    monkeypatch.setattr(Study, "read", read)
    study.add(PARAMS)  # saves
    points = [point for run in runs().runs if run.name == "trial 0 of mine" for point in run.points]
    assert [point.step for point in points] == [100, 200, 300, 400, 500]
    assert all(point.metrics.keys() == points[0].metrics.keys() for point in points)


def test_new_reports_are_sent_before_the_record_is_saved(search: Search, study: Study) -> None:
    study.add(PARAMS)
    study.save()
    runs = SearchRuns(search, search.folder, is_running=True)
    assert [len(run.points) for run in runs().runs] == [0, 0]
    report(search, study, 0, 100, 0.1, at=1000)
    assert [len(run.points) for run in runs().runs] == [0, 1]


def test_an_older_search_has_the_objective_of_each_report(search: Search, study: Study) -> None:
    study.add(PARAMS)
    for pairs in (100, 200):
        report(search, study, 0, pairs, pairs / 1000)
    points = by_name(search, study)["trial 0 of mine"].points
    assert [point.metrics.get(search.objective) for point in points] == [0.1, 0.2]
    assert points[1].metrics["pairs_seen"] == 200.0
    assert points[0].at < points[1].at


def test_the_best_of_a_search_is_none_that_failed(search: Search, study: Study) -> None:
    for value in (0.9, 0.4):
        number = study.add(PARAMS).number
        report(search, study, number, 100, value)
    for number, expected in ((0, [(1, 0.4)]), (1, [(1, 0.4), (2, 0.4)])):
        study.finish(number, "FAIL" if number == 0 else "COMPLETE")
        assert best(search, by_name(search, study)["mine"]) == expected


def test_the_best_at_each_end_follows_from_the_journal(search: Search, study: Study) -> None:
    for value in (0.4, 0.9, 0.5):
        number = study.add(PARAMS).number
        report(search, study, number, 100, value)
        study.finish(number, "COMPLETE")
    assert best(search, by_name(search, study)["mine"]) == [(1, 0.4), (2, 0.9), (3, 0.9)]
    study.journal = None  # as of an older search
    assert best(search, by_name(search, study)["mine"]) == [(3, 0.9)]


def test_a_stopped_waiting_trial_counts_at_its_end(search: Search, study: Study) -> None:
    for value, state in ((0.4, "COMPLETE"), (0.9, "PAUSED")):
        number = study.add(PARAMS).number
        report(search, study, number, 100, value)
        study.finish(number, state)  # type: ignore[arg-type]
    study.finish(1, "PRUNED", "it waited to the end")
    runs = by_name(search, study)
    assert best(search, runs["mine"]) == [(1, 0.4), (2, 0.9)]
    assert runs["trial 1 of mine"].status == "KILLED"
    assert runs["trial 1 of mine"].tags["themo.reason"] == "it waited to the end"


def test_an_ended_trial_is_tagged_with_reason_and_lineage(search: Search, study: Study) -> None:
    trial = study.add(PARAMS)
    report(search, study, 0, 100, 0.5)
    trial.lineage.append(Takeover(pairs=700, value=0.5, params={}, donor=3))
    study.finish(0, "PRUNED", "it was behind", "0.5000 at the rung of 1 pairs, rank 2 of 2")
    run = by_name(search, study)["trial 0 of mine"]
    assert run.tags == {
        "themo.search": search.uid,
        "themo.trial": "0",
        "themo.reason": "it was behind",
        "themo.why": "0.5000 at the rung of 1 pairs, rank 2 of 2",
        "themo.lineage": "as trial 3 from 700 pairs",
    }
    assert run.owned == ("themo.reason", "themo.why")  # none of a trial that runs again


def test_unchanged_trials_keep_their_runs(search: Search, study: Study) -> None:
    runs = SearchRuns(search, search.folder, is_running=True)
    for number in range(2):
        study.add(PARAMS)
        report(search, study, number, 100, 0.5, at=1000)
    study.save()
    before: Projection = runs()
    assert runs() is before
    report(search, study, 1, 200, 0.6, at=2000)
    after = runs()
    assert after.runs[1] is before.runs[1]
    assert len(after.runs[2].points) == 2


def test_the_view_has_no_axis_that_some_trials_lack(search: Search, study: Study) -> None:
    study.add({"learn_rate": 1e-3, "batch_size": 32, "weight_decay": 0.1, "warmup_steps": 10})
    conditions = {"weight_decay": {"batch_size": Choice([32])}}
    search = replace(search, space=replace(search.space, conditions=conditions))
    (view,) = SearchRuns(search, search.folder)().views.values()
    (chart,) = view["compareRunCharts"]
    assert chart["selectedParams"] == ["log10_learn_rate", "batch_size", "warmup_steps"]


def test_axes_are_the_settings_in_which_trials_differ() -> None:
    searched = ["learn_rate", "pooling", "temperature", "loss"]
    same = {"loss": "mse", "pooling": "mean"}
    trials = [{"learn_rate": 0.1, **same}, {"learn_rate": 0.2, "temperature": 0.1, **same}]
    assert axes_of(trials, searched) == ["log10_learn_rate"]  # a trial without temperature would be missing
    assert axes_of(trials[1:], searched) == ["log10_learn_rate", "pooling", "temperature", "loss"]
    assert axes_of([], searched) == ["log10_learn_rate", "pooling", "temperature", "loss"]


def test_children_of_two_objectives_say_whether_on_the_front(search: Search, study: Study) -> None:
    search = replace(search, space=search.space.searched_by(second_objective="mb"))
    runs = SearchRuns(search, search.folder, is_running=True)
    for number, (value, cost) in enumerate([(0.5, 2.0), (0.4, 3.0), (0.3, 1.0)]):
        study.add(PARAMS)
        metrics = {"pairs_seen": 100.0, search.objective: value, "cost/mb": cost}
        study.report(number, metrics, search.objective)
    study.save()
    assert [run.tags["themo.front"] for run in runs().runs[1:]] == ["true", "false", "true"]
    assert runs().runs[1].points[-1].metrics["cost/mb"] == 2.0
    (view,) = runs().views.values()
    axes = ["cost/mb", "best/val/match_at_01"]
    assert view["compareRunCharts"][0]["selectedMetrics"] == axes
    assert view["selectedColumns"][-2:] == [f"metrics.`{name}`" for name in axes]
    metrics = {"pairs_seen": 200.0, search.objective: 0.9, "cost/mb": 1.0}
    study.report(2, metrics, search.objective)
    study.save()
    assert [run.tags["themo.front"] for run in runs().runs[1:]] == ["false", "false", "true"]


def test_children_of_one_objective_have_no_front(search: Search, study: Study) -> None:
    study.add(PARAMS)
    report(search, study, 0, 100, 0.5)
    assert "themo.front" not in by_name(search, study)["trial 0 of mine"].tags
