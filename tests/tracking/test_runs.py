from __future__ import annotations

import json
import math
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.chaos.server import ServerOnSqlite
from themo.cli.main import main
from themo.errors import InputError
from themo.tracking import delivery as delivery_module
from themo.tracking import runs as module
from themo.tracking.aside import Aside
from themo.tracking.delivery import AwayError, Delivery, RefusedError
from themo.tracking.outbox import Outbox
from themo.tracking.runs import RunLog, Sent, Tracking, send
from themo.tracking.uri import check_reachable

# what mlflow and sqlalchemy do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """A database with its tables made, which takes a second or two."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'logs' / 'mlflow.db'}"
    with opened(uri, "first"):
        pass
    return uri


def opened(uri: str, experiment: str) -> Tracking:
    box = Path(uri.removeprefix("sqlite:///")).parent / f"{experiment}.jsonl"
    return Tracking(uri, experiment, box)


def runs_of(uri: str, experiment: str):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return client, {run.info.run_name: run for run in found}


def test_a_run_with_reports_settings_and_a_child(store):
    with opened(store, "runs") as tracking:
        parent = tracking.start("parent", {"a": 1}, artifact={"training": {"learn_rate": 0.1}})
        child = tracking.start("child", {}, tags={"mark": "x"}, parent=parent)
        for pairs, loss in [(100, 0.5), (200, 0.25), (300, math.nan)]:
            child.report({"train/loss": loss, "val/match@01": 0.5}, step=pairs)
        child.finish("KILLED")
        parent.finish()
    client, runs = runs_of(store, "runs")
    assert runs["parent"].info.status == "FINISHED"
    assert runs["parent"].data.params == {"a": "1"}
    beside = Path(store.removeprefix("sqlite:///")).parent / "mlartifacts" / runs["parent"].info.run_id
    saved = json.loads((beside / "artifacts" / "settings.json").read_text())
    assert saved == {"training": {"learn_rate": 0.1}}
    assert runs["child"].info.status == "KILLED"
    assert runs["child"].data.tags["mlflow.parentRunId"] == runs["parent"].info.run_id
    history = client.get_metric_history(runs["child"].info.run_id, "train/loss")
    assert [(entry.step, entry.value) for entry in history] == [(100, 0.5), (200, 0.25)]
    assert len(client.get_metric_history(runs["child"].info.run_id, "val/match_at_01")) == 3


def test_more_params_than_a_batch_takes_and_a_long_one(store):
    params = {f"p{i}": i for i in range(250)} | {"long": "x" * 10_000}
    with opened(store, "many") as tracking:
        tracking.start("run", params).finish()
    _, runs = runs_of(store, "many")
    assert len(runs["run"].data.params) == 251
    assert runs["run"].data.params["long"] == "x" * 6000


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_block_ends_its_run_as_it_ends(store, error, status):
    experiment = f"block-{status}"
    with opened(store, experiment) as tracking:
        try:
            with tracking.run("run", {}) as run:
                run.report({"train/loss": 1.0}, step=1)
                if error:
                    raise error
        except (RuntimeError, KeyboardInterrupt):
            pass
    _, runs = runs_of(store, experiment)
    assert runs["run"].info.status == status


def test_a_run_of_a_key_is_resumed(store):
    with opened(store, "again") as tracking:
        run = tracking.start("run", {"a": 1}, key="s1/0")
        run.report({"pairs_seen": 100}, step=100)
        run.finish("KILLED")
        tracking.start("other", {}, key="s2/0").finish()
    with opened(store, "again") as tracking:
        run = tracking.start("run", {"a": 1}, key="s1/0")
        run.report({"pairs_seen": 100}, step=100)
        run.report({"pairs_seen": 200}, step=200)
        run.finish()
    client, runs = runs_of(store, "again")
    assert set(runs) == {"run", "other"}
    assert runs["run"].info.status == "FINISHED"
    assert len(client.get_metric_history(runs["run"].info.run_id, "pairs_seen")) == 2


def test_a_refused_record_costs_one_warning_only(store, capsys):
    with opened(store, "refused") as tracking:
        run = tracking.start("run", {})
        gone = RunLog(tracking, "no-such-run")
        gone.report({"a": 1.0}, step=1)
        gone.report({"a": 1.0}, step=2)
        run.report({"a": 1.0}, step=1)
        run.finish()
    assert capsys.readouterr().err.count("Warning: MLflow") == 1
    _, runs = runs_of(store, "refused")
    assert runs["run"].info.status == "FINISHED"
    assert runs["run"].data.metrics == {"a": 1.0}


@pytest.mark.parametrize("name", ["run.jsonl", "run.aside.jsonl"])
def test_records_for_another_place_are_refused_there(tmp_path, name):
    """Where their runs are unknown, and they would be dropped."""
    left = Outbox(tmp_path / name, {"uri": "http://someone:secret@old:5000", "experiment": "any"})
    left.append({"do": "report", "run": "a"})
    left.close()
    before = left.path.read_bytes()
    for uri, experiment in [(f"sqlite:///{tmp_path / 'mlflow.db'}", "any"), ("http://old:5000", "other")]:
        for _ in range(2):  # the first one gave the file free
            with pytest.raises(InputError) as caught:
                Tracking(uri, experiment, tmp_path / "run.jsonl", must_answer=False)
        assert str(caught.value) == (
            f"{left.path}: holds records for http://old:5000, experiment 'any', asked for is {uri}, "
            f"experiment {experiment!r}: ask for the former, or send them first: python -m themo send "
            f"{left.path}; if that server has moved, write its new uri into the file's first line"
        )
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert left.path.read_bytes() == before


def test_records_reach_a_moved_database_or_a_new_password(tmp_path, monkeypatch):
    carried: list[str] = []
    monkeypatch.setattr(Delivery, "carry_out", lambda _, record: carried.append(record["run"]))
    for i, (was, now) in enumerate(
        [
            ("http://someone:secret@server:5000", "http://other:changed@server:5000/"),
            (f"sqlite:///{tmp_path / 'gone' / 'mlflow.db'}", f"sqlite:///{tmp_path / 'logs' / 'mlflow.db'}"),
        ]
    ):
        box = Outbox(tmp_path / "run.jsonl", {"uri": was, "experiment": "any"})
        box.append({"do": "report", "run": str(i)})
        box.close()
        with Tracking(now, "any", box.path, must_answer=False) as tracking:
            assert tracking.flush(60.0)
            told = {"uri": now, "experiment": "any"}
            assert json.loads(box.path.read_text()) == told, "what is left from now on is for there"
    assert carried == ["0", "1"]


def test_an_outbox_without_records_takes_the_new_address(tmp_path):
    box = tmp_path / "run.jsonl"
    box.write_text('{"uri": "http://old:5000", "experiment": "any"}\n')
    with Tracking("http://127.0.0.1:9", "new", box, must_answer=False):
        assert json.loads(box.read_text()) == {"uri": "http://127.0.0.1:9", "experiment": "new"}


@pytest.mark.slow
def test_a_returning_server_gets_all_once_and_in_order(tmp_path, capsys):
    """A real server, killed while a run reports, and started again."""
    box = tmp_path / "outbox" / "run.jsonl"
    with ServerOnSqlite(tmp_path) as server:
        tracking = Tracking(server.uri, "away", box)
        run = tracking.start("run", {"a": 1})
        run.report({"loss": 0.0}, step=0)
        assert tracking.flush(120.0)
        assert not box.read_text().count("report"), "what is sent is forgotten"
        server.kill()
        for step in range(1, 20):
            run.report({"loss": float(step)}, step=step)
        run.finish()
        assert box.read_text().count('"report"') == 19
        server.start()
        assert tracking.flush(300.0)
        tracking.close()
        assert not box.exists()
        client, runs = runs_of(server.uri, "away")
        history = client.get_metric_history(runs["run"].info.run_id, "loss")
        assert [(m.step, m.value) for m in history] == [(i, float(i)) for i in range(20)]
        assert runs["run"].info.status == "FINISHED"
    assert capsys.readouterr().err.count("is away, reports wait in") == 1


@pytest.mark.slow
def test_a_lost_server_costs_a_warning_and_a_later_delivery(tmp_path, capsys):
    box = tmp_path / "logs" / "outbox" / "run.jsonl"
    with ServerOnSqlite(tmp_path) as server:
        tracking = Tracking(server.uri, "never", box)
        assert tracking.flush(120.0)
        server.kill()
        with tracking.run("run", {"a": 1}) as run:
            run.report({"loss": 1.0}, step=1)
        tracking.close(3.0)
        told = " ".join(capsys.readouterr().err.split())
        assert f"Sending 3 records to MLflow at {server.uri}, for at most 3 s" in told
        assert f"3 records are not sent yet; send them with: python -m themo send {box}" in told
        assert main(["send", str(box), "--seconds", "5"]) == 2
        assert "no MLflow server answers" in capsys.readouterr().err
        assert box.exists()
        server.start()
        assert main(["send", "--logs-dir", str(tmp_path / "logs")]) == 0
        assert capsys.readouterr().out == f"{box}: 3 records sent\n"
        assert not box.exists()
        _, runs = runs_of(server.uri, "never")
        assert runs["run"].info.status == "FINISHED"
        assert runs["run"].data.metrics == {"loss": 1.0}
    assert main(["send", "--logs-dir", str(tmp_path / "logs")]) == 0
    assert capsys.readouterr().out.startswith("Nothing waits in ")


def test_files_that_cannot_be_sent(tmp_path):
    with pytest.raises(InputError, match=r"nosuch\.jsonl: no such file"):
        send(tmp_path / "nosuch.jsonl")
    for content in ('{"other": 1}\n{"do": "begin"}\n', '{"other": 1}', '{"uri": "x"}\n'):
        (tmp_path / "a.jsonl").write_text(content)
        with pytest.raises(InputError, match=r"a\.jsonl, line 1: must name the uri and the experiment"):
            send(tmp_path / "a.jsonl")
        assert (tmp_path / "a.jsonl").read_text() == content
    (tmp_path / "a.jsonl").write_text("")
    assert send(tmp_path / "a.jsonl") == Sent(0)


def test_a_file_that_cannot_be_sent_does_not_hold_up_the_others(tmp_path, capsys):
    folder = tmp_path / "outbox"
    search = Outbox(folder / "a.jsonl", {"uri": "x", "experiment": "e"})  # of a search that runs
    search.append({"do": "begin"})
    (folder / "b.jsonl").write_text('{"other": 1}\n{"do": "begin"}\n')
    (folder / "c.jsonl").write_text('{"uri": "x", "experiment": "e"}\n')
    assert main(["send", "--logs-dir", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.out == f"{folder / 'c.jsonl'}: 0 records sent\n"
    lines = " ".join(told.err.split())
    assert f"Not sent: {folder / 'a.jsonl'}: another process sends what it holds" in lines
    assert f"Not sent: {folder / 'b.jsonl'}, line 1: must name the uri" in lines
    assert lines.endswith("Error: send: 2 of 3 files could not be sent")
    search.close()


def test_what_is_refused_or_set_aside_does_not_count_as_sent(tmp_path, capsys, monkeypatch):
    def carry_out(self, record):
        if record["do"] == "artifact":
            raise AwayError("the store of artifacts is broken")
        if record["do"] == "tag":
            raise RefusedError("no such run")
        if record["do"] == "settle":
            raise RuntimeError("whatever it is")

    monkeypatch.setattr(module, "_TRIES", 1)
    monkeypatch.setattr(module, "check_reachable", lambda _: None)
    monkeypatch.setattr(Delivery, "connect", lambda _: None)
    monkeypatch.setattr(Delivery, "can_read", lambda _: True)
    monkeypatch.setattr(Delivery, "carry_out", carry_out)
    box = Outbox(tmp_path / "run.jsonl", {"uri": "http://127.0.0.1:9", "experiment": "any"})
    for what, key in [
        ("begin", "a"),
        ("tag", "a"),
        ("settle", "c"),
        ("artifact", "b"),
        ("finish", "b"),
        ("finish", "a"),
    ]:
        box.append({"do": what, "run": key})
    box.close()
    assert main(["send", str(box.path)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{box.path}: 2 records sent, 2 refused and dropped, 2 set aside\n"
    assert "refuses a record, which is dropped: no such run" in " ".join(told.err.split())


def test_a_deleted_experiment_is_refused(store):
    from mlflow import MlflowClient

    with opened(store, "deleted"):
        pass
    client = MlflowClient(store)
    client.delete_experiment(client.get_experiment_by_name("deleted").experiment_id)
    with pytest.raises(InputError, match=r"MLflow experiment 'deleted' at sqlite:.* was deleted"):
        opened(store, "deleted")


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is no database at all, and long enough to be looked at" * 20)
    with pytest.raises(InputError, match=r"MLflow at sqlite:///.*mlflow.db cannot be used: ") as error:
        Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", "any", tmp_path / "outbox.jsonl")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_returning_database_gets_all_records(tmp_path, capsys, monkeypatch):
    """The server itself answers all the time."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setattr(module, "_TRIES", 2)
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.05)
    box = tmp_path / "outbox" / "run.jsonl"
    with ServerOnSqlite(tmp_path) as server, Tracking(server.uri, "locked", box) as tracking:
        run = tracking.start("run", {"a": 1})
        assert tracking.flush(120.0)
        tries: list[str] = []
        carry_out = tracking._delivery.carry_out
        monkeypatch.setattr(
            tracking._delivery, "carry_out", lambda record: tries.append(record["do"]) or carry_out(record)
        )
        with closing(sqlite3.connect(server.database, isolation_level=None)) as database:
            database.execute("BEGIN EXCLUSIVE")
            for step in range(3):
                run.report({"loss": float(step)}, step=step)
            while len(tries) < 3:
                time.sleep(0.05)
            check_reachable(server.uri)
            database.execute("ROLLBACK")
        assert tracking.flush(300.0)
        client, runs = runs_of(server.uri, "locked")
        history = client.get_metric_history(runs["run"].info.run_id, "loss")
        assert [(m.step, m.value) for m in history] == [(i, float(i)) for i in range(3)]
    assert not list(box.parent.iterdir())
    assert capsys.readouterr().err.count("is away, reports wait in") == 1


def test_a_server_away_for_a_day_gets_all_records(tmp_path, monkeypatch):
    """After more tries than 2 can be raised to."""
    tries: list[str] = []

    def carry_out(self, record):
        tries.append(record["do"])
        if len(tries) < 1100:
            raise AwayError("no MLflow server answers")

    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.0)
    monkeypatch.setattr(Delivery, "carry_out", carry_out)
    with Tracking("http://127.0.0.1:9", "any", tmp_path / "run.jsonl", must_answer=False) as tracking:
        RunLog(tracking, "a").report({"loss": 1.0}, step=1)
        assert tracking.flush(60.0)
    assert len(tries) == 1100


def test_a_record_at_which_a_server_fails_each_time_is_set_aside(tmp_path, capsys, monkeypatch):
    carried: list[dict[str, object]] = []

    def carry_out(self, record):
        if record["do"] == "artifact":
            raise AwayError("the store of artifacts is broken")
        carried.append(record)

    monkeypatch.setattr(module, "_TRIES", 3)
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.01)
    monkeypatch.setattr(Delivery, "carry_out", carry_out)
    monkeypatch.setattr(Delivery, "can_read", lambda _: True)
    box = tmp_path / "run.jsonl"
    with Tracking("http://127.0.0.1:9", "any", box, must_answer=False) as tracking:
        RunLog(tracking, "a").artifact({"x": 1}, "x.json")
        RunLog(tracking, "b").report({"loss": 1.0}, step=1)
        assert tracking.flush(60.0)
    assert [record["do"] for record in carried] == ["report"]
    aside = tmp_path / "run.aside.jsonl"
    assert list(tmp_path.iterdir()) == [aside]
    told = capsys.readouterr().err
    assert (
        "fails at a record: the store of artifacts is broken; it and what its run logs later wait in " in told
    )
    assert f"wait in {aside} for: python -m themo send {aside}\n" in told
    # it fails there again, and stays
    left = Tracking("http://127.0.0.1:9", "any", aside, must_answer=False)
    assert not left.flush(0.2)
    left.close(0.0, warn=False)
    assert list(tmp_path.iterdir()) == [aside]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("step", ["_begin", "_describe", "_report"])
def test_what_follows_a_record_that_is_set_aside_waits_with_it(store, tmp_path, monkeypatch, step, restarted):
    """One that fails while a run begins, or later; the run goes on and ends, and another one is as ever."""
    experiment = f"aside{step}-{restarted}"
    plain_open, plain = delivery_module.open_experiment, getattr(Delivery, step)
    is_broken = [True]

    def fails(self, client, *arguments):
        if is_broken[0] and arguments[-1]["run"] == "a":
            raise OSError("the store is broken")
        return plain(self, client, *arguments)

    monkeypatch.setattr(module, "_TRIES", 2)
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.01)
    monkeypatch.setattr(module, "check_reachable", lambda _: None)
    monkeypatch.setattr(delivery_module, "open_experiment", lambda _, name: plain_open(store, name))
    monkeypatch.setattr(Delivery, step, fails)
    box, aside = tmp_path / "run.jsonl", tmp_path / "run.aside.jsonl"

    def reopened(tracking: Tracking) -> Tracking:
        assert tracking.flush(60.0)
        is_broken[0] = False
        if not restarted:
            return tracking
        tracking.close()
        return Tracking("http://127.0.0.1:9", experiment, box)

    tracking = Tracking("http://127.0.0.1:9", experiment, box)
    run = tracking.start("run", {"a": 1}, key="a")
    run.report({"loss": 1.0}, step=1)
    with reopened(tracking) as tracking:
        run = RunLog(tracking, "a")
        run.report({"loss": 2.0}, step=2)
        child = tracking.start("child", {}, parent=run, key="a/0")
        child.report({"loss": 3.0}, step=1)
        child.finish("KILLED")
        run.finish()
        tracking.start("other", {}, key="b").finish()
        assert tracking.flush(60.0)
        _, runs = runs_of(store, experiment)
        assert runs["other"].info.status == "FINISHED"
        assert "run" not in runs or runs["run"].info.status == "RUNNING"
        send(aside, 60.0)
        assert not aside.exists()
        run.tag({"late": "x"})
        assert tracking.flush(60.0)
    client, runs = runs_of(store, experiment)
    assert set(runs) == {"run", "child", "other"}
    assert runs["run"].info.status == "FINISHED"
    assert runs["run"].data.params == {"a": "1"}
    assert runs["run"].data.tags["late"] == "x", "nothing waits any more"
    assert runs["child"].info.status == "KILLED"
    assert runs["child"].data.tags["mlflow.parentRunId"] == runs["run"].info.run_id
    history = client.get_metric_history(runs["run"].info.run_id, "loss")
    assert [(entry.step, entry.value) for entry in history] == [(1, 1.0), (2, 2.0)]
    assert client.get_metric_history(runs["child"].info.run_id, "loss")[0].value == 3.0
    assert not list(tmp_path.iterdir())


def test_a_file_of_records_set_aside_may_be_torn_or_empty(tmp_path):
    box = Outbox(tmp_path / "run.jsonl", {"uri": "x"})
    file = tmp_path / "run.aside.jsonl"
    records = '{"do": "report", "run": "a"}\n{"do": "begin", "run": "b"}\n'
    for content, n_known in [
        ("", 0),
        ('{"uri": "y"}\n', 0),
        ("[5]\n" + records, 0),
        ('{"uri": "x"}\n' + records, 2),
        ('{"uri": "x"}\n' + records + '{"do": "rep', 2),
        ('{"uri": "x"}\n' + records + '{"do": "report"}\n', 2),
    ]:
        file.write_text(content)
        aside = Aside(box)
        assert [aside.is_for({"run": key}) for key in "abc"] == [n_known > 0, n_known > 0, False]
        children = [aside.is_for({"run": "c", "parent": key}) for key in ("a", "b", None)]
        assert children == [False, n_known > 0, False], "a child waits for its parent's beginning only"
    file.write_text('{"uri": "y"}\n' + records)
    with pytest.raises(InputError, match=r"run\.aside\.jsonl: holds records for y, .* asked for is x, "):
        Aside(box)
    file.unlink()
    assert [aside.was_sent(), aside.was_sent()] == [n_known > 0, False]
    assert not aside.is_for({"run": "a"})
    file.mkdir()
    with pytest.raises(InputError, match=r"run\.aside\.jsonl: cannot be read: Is a directory"):
        Aside(box)
    box.close()


def test_a_database_that_is_a_file_has_no_record_set_aside(store):
    with opened(store, "a file") as tracking:
        assert tracking._delivery.can_read()
        assert not tracking._set_aside({"run": "a", "do": "tag", "tags": {}}, "locked")


def test_a_database_that_cannot_be_read_is_away(tmp_path):
    delivery = Delivery(f"sqlite:///{tmp_path / 'mlflow.db'}", "any")
    assert not delivery.can_read(), "it was never reached"


def test_a_model_is_logged_and_registered_once_more(store, tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: {}\nmodel_uuid: x\n", encoding="utf-8")
    with opened(store, "models") as tracking:
        for expected in ("models:/encoder/1", "models:/encoder/2"):
            run = tracking.start("export", {})
            assert str(tracking.register(run, tmp_path, "encoder")) == expected
            run.finish()
    from mlflow import MlflowClient

    second, first = MlflowClient(store).search_model_versions("name = 'encoder'")
    assert first.run_id != second.run_id
    files = list(Path(store.removeprefix("sqlite:///")).parent.rglob("MLmodel"))
    assert len(files) == 2


def test_a_name_that_no_registry_takes(store, tmp_path):
    with opened(store, "models") as tracking:
        run = tracking.start("export", {})
        with pytest.raises(InputError, match=r"^MLflow at sqlite:.* does not take the model 'a/b': .*name"):
            tracking.register(run, tmp_path, "a/b")
        run.finish("FAILED")


def test_the_same_student_is_registered_once_under_a_name(store, tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: {}\nmodel_uuid: x\n", encoding="utf-8")
    with opened(store, "models") as tracking:
        run = tracking.start("export", {})
        found = [
            str(tracking.register(run, tmp_path, name, student))
            for name, student in (("once", "a"), ("once", "a"), ("once", "b"), ("once", "a"), ("two", "a"))
        ]
        run.finish()
        assert tracking.registered_before("once", "c") is None
    again = "models:/once/1 (registered before)"
    assert found == ["models:/once/1", again, "models:/once/2", again, "models:/two/1"]
