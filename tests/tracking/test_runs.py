"""The thread that brings a record to MLflow, with databases and real servers."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos.server import ServerOnSqlite
from themo.errors import InputError
from themo.tracking import runs as module
from themo.tracking.answers import UnreachableError
from themo.tracking.mirror import Mirror
from themo.tracking.projection import Point, Projection, Run
from themo.tracking.runs import Tracking, one_run, send
from themo.tracking.unsent import MARK_FILE, Destination, destination_of, mark
from themo.tracking.uri import check_reachable

# what mlflow and sqlalchemy do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

AWAY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with its tables made, which takes a second or two."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'logs' / 'mlflow.db'}"
    with Tracking(uri, "first", Projection):
        pass
    return uri


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "e" / "version_0"
    path.mkdir(parents=True)
    return path


@dataclass
class Record:
    """A run that reports."""

    run: Run = field(default_factory=lambda: Run("k", "run", {"a": 1}, status="RUNNING"))

    def __call__(self) -> Projection:
        return Projection((self.run,))

    def report(self, *steps: int) -> None:
        added = tuple(Point(step, 1000 + step, {"loss": float(step)}) for step in steps)
        self.run = replace(self.run, points=(*self.run.points, *added))

    def finish(self) -> None:
        self.run = replace(self.run, status="FINISHED")


def runs_of(uri: str, experiment: str) -> tuple[Any, dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return client, {run.info.run_name: run for run in found}


def losses(uri: str, experiment: str) -> list[tuple[int, float]]:
    client, runs = runs_of(uri, experiment)
    found = client.get_metric_history(runs["run"].info.run_id, "loss") if runs else []
    return [(entry.step, entry.value) for entry in sorted(found, key=lambda entry: entry.timestamp)]


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.05)


@pytest.mark.slow
def test_reports_arrive_while_a_run_goes(store: str, folder: Path) -> None:
    record = Record()
    with Tracking(store, "live", record, folder) as tracking:
        for step in (1, 2):
            record.report(step)
            tracking.wake()
            eventually(lambda n=step: losses(store, "live")[-1:] == [(n, float(n))])  # type: ignore[misc]
        record.report(3)  # and nobody wakes the thread
        eventually(lambda: len(losses(store, "live")) == 3)
        assert destination_of(folder) is not None
        record.finish()
    assert runs_of(store, "live")[1]["run"].info.status == "FINISHED"
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_block_ends_its_run_as_it_ends(store: str, error: type[BaseException] | None, status: str) -> None:
    experiment = f"block-{status}"
    try:
        with one_run(store, experiment, Run("k", "run", scores={"score": 1.0})) as tracking:
            assert tracking.flush()
            assert runs_of(store, experiment)[1]["run"].info.status == "RUNNING"
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert runs_of(store, experiment)[1]["run"].info.status == status


def test_rejected_parts_cost_one_warning(
    store: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record()
    record.run = replace(record.run, points=tuple(Point(n, n, {"b" * 500: 1.0}) for n in (1, 2)))
    record.report(3)
    record.finish()
    assert str(send(store, "rejected", record, folder)) == "1 run sent, 2 of their parts rejected and dropped"
    printed = capsys.readouterr().err
    assert printed.count("Warning: MLflow") == 1
    assert "rejected metrics at step 1 of 'run'; dropped: " in printed
    assert losses(store, "rejected") == [(3, 3.0)]


def test_a_record_that_cannot_be_read_is_tried_again(
    store: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, is_damaged = Record(), [True]

    def project() -> Projection:
        if is_damaged.pop():
            is_damaged.append(False)
            raise InputError("study.json: has no valid study")
        is_damaged.append(False)
        return record()

    with Tracking(store, "damaged", project, folder) as tracking:
        assert tracking.flush()
    assert "the record cannot be read; will retry: study.json" in capsys.readouterr().err
    assert set(runs_of(store, "damaged")[1]) == {"run"}


def test_a_second_process_is_refused(store: str, folder: Path) -> None:
    with (
        Tracking(store, "twice", Projection, folder),
        pytest.raises(InputError, match=f"^{folder}: another process sends its runs$"),
    ):
        Tracking(store, "twice", Projection, folder)
    Tracking(store, "twice", Projection, folder).close()


@pytest.mark.parametrize("was_marked", [False, True])
def test_a_refused_server_leaves_the_mark_as_it_was(folder: Path, was_marked: bool) -> None:
    if was_marked:
        Tracking(AWAY, "any", Record(), folder, must_answer=False).close(0.0, warn=False)
    with pytest.raises(InputError, match="no MLflow server answers"):
        Tracking(AWAY, "any", Record(), folder)
    assert (folder / MARK_FILE).exists() == was_marked


def test_a_refused_database_is_not_written_into_the_mark(folder: Path, tmp_path: Path) -> None:
    first = Destination("http://first:5000", "any")
    mark(folder, first)
    (tmp_path / "broken.db").write_bytes(b"no database" * 100)
    with pytest.raises(InputError):
        Tracking(f"sqlite:///{tmp_path / 'broken.db'}", "any", Record(), folder)
    assert destination_of(folder) == first


def test_a_part_that_is_not_sent_keeps_an_earlier_mark(folder: Path) -> None:
    first = Destination("http://first:5000", "any")
    mark(folder, first)
    tracking = Tracking(AWAY, "any", Record(), folder, must_answer=False, adds_only=True)
    assert not tracking.close(0.1)
    assert destination_of(folder) == first


def test_a_part_that_is_not_sent_marks_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracking = Tracking(AWAY, "any", Record(), folder, must_answer=False, adds_only=True)
    assert destination_of(folder) is None
    assert not tracking.close(0.1)
    assert destination_of(folder) is not None
    assert f"send them with: python -m themo send {folder}\n" in capsys.readouterr().err


def test_a_server_away_for_a_day_gets_all(store: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After more tries than 2 can be raised to."""
    tries: list[int] = []

    def sync(mirror: Mirror, projection: Projection) -> None:
        tries.append(len(projection.runs))
        if len(tries) < 1100:
            raise UnreachableError("no MLflow server answers")

    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.0)
    monkeypatch.setattr(Mirror, "sync", sync)
    with Tracking(AWAY, "any", Record(), folder, must_answer=False) as tracking:
        assert tracking.flush(60.0)
    assert len(tries) >= 1100


@pytest.mark.slow
def test_a_returning_server_gets_all_once_and_in_order(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real server, killed while a run reports, and started again."""
    record = Record()
    with ServerOnSqlite(tmp_path) as server:
        tracking = Tracking(server.uri, "away", record, folder)
        record.report(0)
        assert tracking.flush(120.0)
        server.kill()
        for step in range(1, 20):
            record.report(step)
            tracking.wake()
        record.finish()
        assert not tracking.flush(2.0)
        server.start()
        assert tracking.close(300.0)
        assert losses(server.uri, "away") == [(step, float(step)) for step in range(20)]
        assert runs_of(server.uri, "away")[1]["run"].info.status == "FINISHED"
    assert not list(folder.iterdir())
    assert capsys.readouterr().err.count("is unreachable or failing; will retry") == 1


@pytest.mark.slow
def test_a_lost_server_costs_a_warning_and_a_later_send(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record()
    with ServerOnSqlite(tmp_path) as server:
        tracking = Tracking(server.uri, "never", record, folder)
        assert tracking.flush(120.0)
        server.kill()
        record.report(1)
        record.finish()
        assert not tracking.close(3.0)
        printed = " ".join(capsys.readouterr().err.split())
        assert f"Sending the runs of {folder} to MLflow at {server.uri}, for at most 3 s" in printed
        assert f"are not all sent yet; send them with: python -m themo send {folder}" in printed
        with pytest.raises(InputError, match="no MLflow server answers"):
            send(server.uri, "never", record, folder, 5.0)
        assert destination_of(folder) is not None
        server.start()
        assert str(send(server.uri, "never", record, folder, 300.0)) == "1 run sent"
        assert losses(server.uri, "never") == [(1, 1.0)]
        assert runs_of(server.uri, "never")[1]["run"].info.status == "FINISHED"
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_a_returning_database_gets_all_once(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server itself answers all the time."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.05)
    record, tries = Record(), []
    with ServerOnSqlite(tmp_path) as server, Tracking(server.uri, "locked", record, folder) as tracking:
        assert tracking.flush(120.0)
        sync = tracking.mirror.sync
        monkeypatch.setattr(tracking.mirror, "sync", lambda what: tries.append(1) or sync(what))
        with closing(sqlite3.connect(server.database, isolation_level=None)) as database:
            database.execute("BEGIN EXCLUSIVE")
            record.report(0, 1, 2)
            tracking.wake()
            eventually(lambda: len(tries) >= 3, 120.0)
            check_reachable(server.uri)
            database.execute("ROLLBACK")
        assert tracking.flush(300.0)
        assert losses(server.uri, "locked") == [(step, float(step)) for step in range(3)]
    assert not list(folder.iterdir())
    assert capsys.readouterr().err.count("is unreachable or failing; will retry") == 1


@pytest.mark.slow
def test_no_password_is_printed_or_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = "http://someone:secret@127.0.0.1:9"
    tracking = Tracking(uri, "any", Record(), folder, must_answer=False)
    assert not tracking.close(2.5)
    assert (folder / MARK_FILE).read_text() == '{"uri": "http://127.0.0.1:9", "experiment": "any"}'
    printed = capsys.readouterr().err
    assert "secret" not in printed
    assert "MLflow at http://127.0.0.1:9" in printed


def model(tmp_path: Path) -> Path:
    (tmp_path / "MLmodel").write_text("flavors: {}\nmodel_uuid: x\n", encoding="utf-8")
    return tmp_path


def test_a_model_is_logged_and_registered_once_more(store: str, tmp_path: Path) -> None:
    for number in (1, 2):
        with one_run(store, "models", Run(f"export-{number}", f"export {number}")) as tracking:
            registered = tracking.register(f"export-{number}", model(tmp_path), "encoder")
            assert str(registered) == f"models:/encoder/{number}"
    from mlflow import MlflowClient

    second, first = MlflowClient(store).search_model_versions("name = 'encoder'")
    assert first.run_id != second.run_id
    files = list(Path(store.removeprefix("sqlite:///")).parent.rglob("MLmodel"))
    assert len(files) == 2


def test_a_name_that_no_registry_takes(store: str, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"^MLflow at sqlite:.* rejected the model 'a/b': .*name"),
        one_run(store, "refused-models", Run("export", "export")) as tracking,
    ):
        tracking.register("export", tmp_path, "a/b")
    assert runs_of(store, "refused-models")[1]["export"].info.status == "FAILED"


def test_the_same_student_is_registered_once_under_a_name(store: str, tmp_path: Path) -> None:
    with one_run(store, "models", Run("once", "once")) as tracking:
        found = [
            str(tracking.register("once", model(tmp_path), name, student))
            for name, student in (("once", "a"), ("once", "a"), ("once", "b"), ("once", "a"), ("two", "a"))
        ]
        assert tracking.registered_before("once", "c") is None
    again = "models:/once/1 (registered before)"
    assert found == ["models:/once/1", again, "models:/once/2", again, "models:/two/1"]
