"""The difference between a projection and what MLflow has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from themo.tracking import known_runs
from themo.tracking import mirror as module
from themo.tracking.answers import UnreachableError
from themo.tracking.comparison import VIEW_TAG
from themo.tracking.mirror import Mirror
from themo.tracking.projection import Point, Projection, Run

# what mlflow and sqlalchemy do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

RUN = Run("k", "run", params={"a": 1}, tags={"t": "x"}, started=1000, status="RUNNING")
WRITES = (
    "create_run",
    "log_batch",
    "log_text",
    "set_terminated",
    "update_run",
    "delete_tag",
    "set_experiment_tag",
)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def points(*steps: int) -> tuple[Point, ...]:
    return tuple(Point(step, 2000 + step, {"a": step / 10}) for step in steps)


def bring(mirror: Mirror, *runs: Run) -> Mirror:
    mirror.sync(Projection(runs))
    return mirror


def search(n_trials: int, **changes: Any) -> Projection:
    """A parent and its children."""
    parent = Run("p", "parent", tags={"s": "u"}, status="RUNNING")
    child = Run("", "", tags={"s": "u"}, parent="p", points=points(20), status="KILLED")
    children = [replace(child, key=f"p/{n}", name=f"trial {n}", **changes) for n in range(n_trials)]
    return Projection((parent, *children), ("s", "u"))


def runs(mirror: Mirror) -> dict[str, Any]:
    client, experiment = mirror.connect()
    found = list(client.search_runs([experiment]))
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def history(mirror: Mirror, name: str = "run", metric: str = "a") -> list[tuple[int, float]]:
    client, _ = mirror.connect()
    found = client.get_metric_history(runs(mirror)[name].info.run_id, metric)
    return [(entry.step, entry.value) for entry in sorted(found, key=lambda entry: entry.timestamp)]


def is_silent(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """A mirror that fails the test where it writes."""
    client, _ = mirror.connect()
    for write in WRITES:
        monkeypatch.setattr(client, write, lambda *_, **__: pytest.fail("it was written to"))
    return mirror


WHOLE = replace(
    RUN,
    points=(
        Point(10, 2000, {"train/loss": 0.5, "val/match@01": 0.5}),
        Point(20, 3000, {"train/loss": math.nan, "val/match@01": 0.75}),
    ),
    scores={"test/retrieval@01": 0.25},
    files={"settings.json": '{"b": 2}'},
    ended=4000,
    status="KILLED",
)


def test_a_whole_run_is_brought_once(uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mirror = bring(Mirror(uri, "whole"), WHOLE)
    run = runs(mirror)["run"]
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("KILLED", 1000, 4000)
    assert run.data.params == {"a": "1"}
    assert (run.data.tags["t"], run.data.tags["themo.run"], run.data.tags["themo.step"]) == ("x", "k", "20")
    assert run.data.metrics == {"train/loss": 0.5, "val/match_at_01": 0.75, "test/retrieval_at_01": 0.25}
    assert history(mirror, metric="val/match_at_01") == [(10, 0.5), (20, 0.75)]
    client, _ = mirror.connect()
    saved = Path(client.download_artifacts(run.info.run_id, "settings.json", str(tmp_path)))
    assert json.loads(saved.read_text()) == {"b": 2}
    bring(is_silent(mirror, monkeypatch), WHOLE)
    assert bring(is_silent(Mirror(uri, "whole"), monkeypatch), WHOLE).n_changed == 0  # as after a kill


def test_a_run_grows_with_its_record(uri: str) -> None:
    mirror = Mirror(uri, "grows")
    for n_reports in range(4):
        bring(mirror, replace(RUN, points=points(10, 20, 30)[:n_reports]))
    assert history(mirror) == [(10, 1.0), (20, 2.0), (30, 3.0)]
    assert runs(mirror)["run"].info.status == "RUNNING"
    assert mirror.made == ["run"]


def test_a_resumed_trial_reports_no_step_twice(uri: str) -> None:
    bring(Mirror(uri, "again"), replace(RUN, points=points(10, 20), status="KILLED"))
    repeated = (Point(10, 9000, {"a": 8.0}), Point(20, 9500, {"a": 9.0}), *points(30))
    mirror = bring(Mirror(uri, "again"), replace(RUN, points=repeated))
    assert history(mirror) == [(10, 1.0), (20, 2.0), (30, 3.0)]
    assert runs(mirror)["run"].info.status == "RUNNING"


@pytest.mark.parametrize("n_parts", range(5))
def test_a_kill_between_two_parts_loses_nothing(
    uri: str, n_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = f"kill-{n_parts}"
    mirror = Mirror(uri, experiment)
    client, _ = mirror.connect()
    left = [n_parts]

    def dies(write: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return write(*arguments, **options)

        return call

    for write in WRITES:
        monkeypatch.setattr(client, write, dies(getattr(client, write)))
    with pytest.raises(KeyboardInterrupt):
        bring(mirror, WHOLE)
    again = bring(Mirror(uri, experiment), WHOLE)
    run = runs(again)["run"]
    assert (run.info.status, run.data.params) == ("KILLED", {"a": "1"})
    assert history(again, metric="val/match_at_01") == [(10, 0.5), (20, 0.75)]
    files = [file.path for file in again.connect()[0].list_artifacts(run.info.run_id)]
    assert files == ["settings.json"]


@pytest.mark.parametrize("n_points", [1, 2])
def test_metrics_whose_step_was_not_tagged_are_sent_once(
    uri: str, n_points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server was killed within a request. The times of the reports have changed since."""
    experiment = f"untagged-{n_points}"
    mirror = bring(Mirror(uri, experiment), RUN)
    client, _ = mirror.connect()
    log_batch = client.log_batch

    def log_metrics_and_fail(run_id: str, **entries: Any) -> None:
        log_batch(run_id, metrics=entries["metrics"])
        raise OSError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(client, "log_batch", log_metrics_and_fail)
        with pytest.raises(UnreachableError, match="connection lost"):
            bring(mirror, replace(RUN, points=points(10, 20)[:n_points]))
    later = tuple(replace(point, at=point.at + 5000) for point in points(10, 20, 30))
    for again in (mirror, Mirror(uri, experiment)):
        bring(again, replace(RUN, points=later))
    assert history(mirror) == [(10, 1.0), (20, 2.0), (30, 3.0)]


def test_more_params_and_metrics_than_a_batch_takes(uri: str) -> None:
    params = {f"p{i}": i for i in range(250)} | {"long": "x" * 10_000}
    many = tuple(Point(step, step, {f"m{i}": float(step) for i in range(40)}) for step in range(1, 60))
    mirror = bring(Mirror(uri, "many"), replace(RUN, params=params, points=many))
    assert len(runs(mirror)["run"].data.params) == 251
    assert runs(mirror)["run"].data.params["long"] == "x" * 6000
    assert history(mirror, metric="m39") == [(step, float(step)) for step in range(1, 60)]


def test_a_rejected_report_costs_itself_only(uri: str) -> None:
    printed: list[str] = []
    mirror = Mirror(uri, "rejected", printed.append)
    wrong = Point(20, 2020, {"a": 2.0, "b" * 500: 1.0})
    run = replace(RUN, points=(*points(10), wrong, *points(30)), status="FINISHED")
    for _ in range(2):
        bring(mirror, run, replace(RUN, key="l", name="other", points=points(10)))
    assert history(mirror) == [(10, 1.0), (30, 3.0)]
    assert history(mirror, "other") == [(10, 1.0)]
    assert runs(mirror)["run"].info.status == "FINISHED"
    (line,) = printed
    assert line.startswith("rejected metrics at step 20 of 'run'; dropped: ")
    assert mirror.n_rejected == 1


@pytest.mark.parametrize("write", ["log_text", "log_batch", "set_terminated"])
def test_a_part_that_fails_does_not_block_the_rest(
    uri: str, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(uri, f"fails-{write}")
    client, _ = mirror.connect()
    plain, is_broken = getattr(client, write), [True]

    def fails(run_id: str, *arguments: Any, **options: Any) -> Any:
        if is_broken[0] and client.get_run(run_id).info.run_name == "trial 0":
            raise OSError("the store is broken")
        return plain(run_id, *arguments, **options)

    monkeypatch.setattr(client, write, fails)
    monkeypatch.setattr(Mirror, "_can_read", lambda _: True)  # as of a server that answers
    projection = search(2, files={"x.json": "{}"})
    with pytest.raises(UnreachableError, match="the store is broken"):
        mirror.sync(projection)
    assert runs(mirror)["trial 1"].info.status == "KILLED"
    is_broken[0] = False
    mirror.sync(projection)
    assert {run.info.status for name, run in runs(mirror).items() if name != "parent"} == {"KILLED"}
    assert history(mirror, "trial 0") == [(20, 2.0)]


def test_a_server_that_fails_at_all_runs_is_left_alone(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror, tries = Mirror(uri, "fails"), []
    client, _ = mirror.connect()

    def fails(*_: object, **__: object) -> None:
        tries.append(1)
        raise OSError("no")

    monkeypatch.setattr(client, "create_run", fails)
    monkeypatch.setattr(Mirror, "_can_read", lambda _: True)
    with pytest.raises(UnreachableError):
        bring(mirror, *(replace(RUN, key=str(n)) for n in range(20)))
    assert len(tries) == module._FAILURES_A_ROUND


@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_scores_join_a_run_that_keeps_its_state(uri: str, status: Any) -> None:
    experiment = f"join-{status}"
    bring(Mirror(uri, experiment), replace(RUN, status=status, ended=3000))
    joining = Run("k", "other", {"b": 1}, {"u": "v"}, scores={"score": 0.5}, adds_only=True)
    mirror = bring(Mirror(uri, experiment), joining)
    run = runs(mirror)["run"]
    assert (run.info.status, run.data.metrics, run.data.params) == (status, {"score": 0.5}, {"a": "1"})
    assert run.info.end_time == (3000 if status == "FAILED" else None)
    assert mirror.made == []


def test_scores_of_a_missing_run_make_it_once(uri: str) -> None:
    joining = replace(RUN, status=None, scores={"score": 0.5}, points=points(10), adds_only=True)
    made = [bring(Mirror(uri, "join-none"), joining).made for _ in range(2)]
    assert made == [["run"], []]
    run = runs(Mirror(uri, "join-none"))["run"]
    assert (run.info.status, run.data.params) == ("FINISHED", {"a": "1"})
    assert run.data.metrics == {"score": 0.5, "a": 1.0}


def test_scores_of_a_missing_run_may_be_left_out(uri: str) -> None:
    joining = replace(RUN, scores={"score": 0.5}, adds_only=True, creates=False)
    mirror = bring(Mirror(uri, "join-no"), joining)
    assert (mirror.made, mirror.missing, runs(mirror)) == ([], {"run"}, {})
    bring(Mirror(uri, "join-no"), RUN)
    mirror = bring(Mirror(uri, "join-no"), joining)
    assert (mirror.missing, runs(mirror)["run"].data.metrics) == (set(), {"score": 0.5})


def test_the_last_score_counts_and_an_equal_one_adds_nothing(uri: str) -> None:
    for score in (0.5, 0.5, 0.4):
        mirror = bring(Mirror(uri, "score"), replace(RUN, points=points(10), scores={"score": score}))
    bring(mirror, replace(RUN, points=points(10, 20), scores={"score": 0.4}))  # scores do not move the step
    assert runs(mirror)["run"].data.metrics == {"a": 2.0, "score": 0.4}
    assert [value for _, value in history(mirror, metric="score")] == [0.5, 0.4]


def test_tags_that_are_no_longer_true_are_removed(uri: str) -> None:
    first = {"w.trial": "1", "w.temperature": "0.1", "other": "x"}
    begun = bring(Mirror(uri, "tags"), replace(RUN, tags=first, owned=("w.",)))
    for mirror in (begun, Mirror(uri, "tags")):
        bring(mirror, replace(RUN, tags={"w.trial": "2"}, owned=("w.",)))
        tags: Mapping[str, str] = runs(mirror)["run"].data.tags
        kept = {name: value for name, value in tags.items() if name[:2] in ("w.", "ot")}
        assert kept == {"w.trial": "2", "other": "x"}


def test_a_changed_file_replaces_the_first(uri: str, tmp_path: Path) -> None:
    for text in ("first", "second"):
        mirror = bring(Mirror(uri, "file"), replace(RUN, files={"report.html": text}))
    client, _ = mirror.connect()
    run_id = runs(mirror)["run"].info.run_id
    assert [entry.path for entry in client.list_artifacts(run_id)] == ["report.html"]
    assert Path(client.download_artifacts(run_id, "report.html", str(tmp_path))).read_text() == "second"


def test_a_view_is_kept_and_renewed(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Mirror(uri, "views")
    for n_runs in (1, 2):
        mirror.sync(Projection((RUN,), views={"u": {"runs": n_runs}}))
    client, experiment = mirror.connect()
    assert client.get_experiment(experiment).tags[f"{VIEW_TAG}u"] == '{"runs":2}'
    is_silent(Mirror(uri, "views"), monkeypatch).sync(Projection((RUN,), views={"u": {"runs": 2}}))


def counted(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The searches for runs that are made of MLflow from now on."""
    client, _ = mirror.connect()
    search_runs, found = client.search_runs, []

    def count(experiments: list[str], condition: str = "", **page: Any) -> Any:
        found.append(condition)
        return search_runs(experiments, condition, **page)

    monkeypatch.setattr(client, "search_runs", count)
    return found


def test_runs_are_read_once_and_a_page_at_a_time(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_runs, "_RUNS_A_PAGE", 3)
    first = Mirror(uri, "pages")
    searches = counted(first, monkeypatch)
    for n_trials in (1, 3, 5):
        first.sync(search(n_trials))
    assert len(searches) == 2, "for the parent by its key, and for all of the group"
    second = Mirror(uri, "pages")
    searches = counted(second, monkeypatch)
    second.sync(search(7))
    assert len(searches) == 1 + 2
    assert sorted(runs(second)) == ["parent", *(f"trial {n}" for n in range(7))]


def test_children_of_a_deleted_run_get_the_new_one(uri: str) -> None:
    first = Mirror(uri, "deleted")
    first.sync(search(3))
    client, _ = first.connect()
    client.delete_run(first.run_id("p"))
    second = Mirror(uri, "deleted")
    second.sync(search(3))
    found = runs(second)
    assert sorted(found) == ["parent", "trial 0", "trial 1", "trial 2"]
    parents = {run.data.tags.get("mlflow.parentRunId") for name, run in found.items() if name != "parent"}
    assert parents == {found["parent"].info.run_id}


def test_a_run_whose_making_was_not_answered_is_made_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = Mirror(uri, "unanswered")
    mirror.sync(search(0))
    client, _ = mirror.connect()
    create = client.create_run

    def make_and_fail(*arguments: Any, **options: Any) -> None:
        create(*arguments, **options)
        raise OSError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(client, "create_run", make_and_fail)
        with pytest.raises(UnreachableError, match="connection lost"):
            mirror.sync(search(1))
    mirror.sync(search(1))
    assert sorted(runs(mirror)) == ["parent", "trial 0"]
    assert history(mirror, "trial 0") == [(20, 2.0)]


def test_another_server_gets_everything(uri: str, tmp_path: Path) -> None:
    bring(Mirror(uri, "moved"), WHOLE)
    moved = bring(Mirror(f"sqlite:///{tmp_path / 'mlflow.db'}", "moved"), WHOLE)
    assert history(moved, metric="val/match_at_01") == [(10, 0.5), (20, 0.75)]
    assert runs(moved)["run"].info.status == "KILLED"


def test_a_stopped_mirror_sends_nothing(uri: str) -> None:
    mirror = Mirror(uri, "stopped")
    mirror.is_stopped = True
    with pytest.raises(UnreachableError):
        bring(mirror, RUN)
    assert runs(mirror) == {}


def test_a_database_in_a_file_fails_as_a_whole(uri: str) -> None:
    mirror = Mirror(uri, "file-store")
    assert not mirror._can_read()
    mirror.connect()
    assert not mirror._can_read()
