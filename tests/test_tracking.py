from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from themo import tracking as module
from themo.errors import InputError
from themo.tracking import (
    Tracking,
    check_reachable,
    comparison_params,
    metric_name,
    tracking_uri,
    ui_command,
)

# what mlflow and sqlalchemy do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """A database with its tables made, which takes a second or two."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'logs' / 'mlflow.db'}"
    with Tracking(uri, "first"):
        pass
    return uri


def runs_of(uri: str, experiment: str):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return client, {run.info.run_name: run for run in found}


def test_the_database_is_absolute_and_a_server_goes_before_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Path("logs")) == f"sqlite:///{tmp_path}/logs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri(Path("logs")) == "http://server:5000"


def test_how_to_open_the_ui():
    assert (
        ui_command("sqlite:////a/logs/mlflow.db")
        == "mlflow ui --backend-store-uri sqlite:////a/logs/mlflow.db"
    )
    assert ui_command("http://server:5000") == "open http://server:5000"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/match@01", "val/match_at_01"),
        ("best/val/loss", "best/val/loss"),
        ("train/0.1*infonce", "train/0.1_infonce"),
    ],
)
def test_metric_names_are_as_mlflow_takes_them(name, expected):
    assert metric_name(name) == expected


def test_learning_rates_are_compared_by_their_logarithm():
    assert comparison_params({"learn_rate": 1e-4, "loss": "mse"}) == {
        "learn_rate": 1e-4,
        "loss": "mse",
        "log10_learn_rate": -4,
    }
    assert comparison_params({"loss": "mse"}) == {"loss": "mse"}


def test_a_run_with_reports_settings_and_a_child(store):
    with Tracking(store, "runs") as tracking:
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
    with Tracking(store, "many") as tracking:
        tracking.start("run", params).finish()
    _, runs = runs_of(store, "many")
    assert len(runs["run"].data.params) == 251
    assert runs["run"].data.params["long"] == "x" * 6000


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_block_ends_its_run_as_it_ends(store, error, status):
    experiment = f"block-{status}"
    with Tracking(store, experiment) as tracking:
        try:
            with tracking.run("run", {}) as run:
                run.report({"train/loss": 1.0}, step=1)
                if error:
                    raise error
        except (RuntimeError, KeyboardInterrupt):
            pass
    _, runs = runs_of(store, experiment)
    assert runs["run"].info.status == status


def test_an_old_run_is_found_by_its_tag_and_taken_up_again(store):
    with Tracking(store, "again") as tracking:
        run = tracking.start("run", {"a": 1}, tags={"themo.search": "s1"})
        run.report({"pairs_seen": 100}, step=100)
        run.finish("KILLED")
        tracking.start("other", {}, tags={"themo.search": "s2"}).finish()
    with Tracking(store, "again") as tracking:
        (old,) = tracking.find("themo.search", "s1")
        assert old.metrics == {"pairs_seen": 100}
        run = tracking.start("run", {"a": 1}, run_id=old.run_id)
        run.report({"pairs_seen": 200}, step=200)
        run.finish()
    client, runs = runs_of(store, "again")
    assert set(runs) == {"run", "other"}
    assert runs["run"].info.status == "FINISHED"
    assert len(client.get_metric_history(runs["run"].info.run_id, "pairs_seen")) == 2


def test_what_the_server_refuses_costs_one_warning_and_nothing_else(store, capsys):
    with Tracking(store, "refused") as tracking:
        run = tracking.start("run", {})
        gone = tracking.attach("no-such-run")
        gone.report({"a": 1.0}, step=1)
        gone.report({"a": 1.0}, step=2)
        run.report({"a": 1.0}, step=1)
        run.finish()
    assert capsys.readouterr().err.count("Warning: MLflow") == 1
    _, runs = runs_of(store, "refused")
    assert runs["run"].info.status == "FINISHED"
    assert runs["run"].data.metrics == {"a": 1.0}


def test_a_slow_server_is_never_waited_for(store, monkeypatch, capsys):
    monkeypatch.setattr(module, "_QUEUE_LENGTH", 3)
    release = threading.Event()
    with Tracking(store, "slow") as tracking:
        tracking._put(release.wait)  # what a server that does not answer does to the thread
        run = tracking.start("run", {})
        for step in range(20):
            run.report({"a": 1.0}, step=step)
        release.set()
    assert "is too slow; reports are left out" in " ".join(capsys.readouterr().err.split())


def test_a_deleted_experiment_is_refused(store):
    from mlflow import MlflowClient

    with Tracking(store, "deleted"):
        pass
    client = MlflowClient(store)
    client.delete_experiment(client.get_experiment_by_name("deleted").experiment_id)
    with pytest.raises(InputError, match=r"MLflow experiment 'deleted' at sqlite:.* was deleted"):
        Tracking(store, "deleted")


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is no database at all, and long enough to be looked at" * 20)
    with pytest.raises(InputError, match=r"MLflow at sqlite:///.*mlflow.db cannot be used: ") as error:
        Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", "any")
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(InputError, match=r"--logs-dir: sqlite:.* cannot be written: "):
        check_reachable(f"sqlite:///{tmp_path / 'logs' / 'deep' / 'mlflow.db'}")


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "./mlruns"])
def test_folders_are_no_store(uri):
    with pytest.raises(InputError, match=r"MLFLOW_TRACKING_URI: must be a server .* or a database"):
        check_reachable(uri)


def test_an_address_where_nobody_listens_is_refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"no MLflow server answers at {uri}: .*refused"):
            check_reachable(uri)


def test_a_server_that_never_answers_is_refused(monkeypatch):
    monkeypatch.setattr(module, "_REACH_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"no MLflow server answers at {uri}: .*timed out"):
            check_reachable(uri)


def test_a_server_in_trouble_is_refused_and_one_that_asks_for_a_password_is_not():
    with _server(503) as uri, pytest.raises(InputError, match=r"answers at http.*: HTTP status 503"):
        check_reachable(uri)
    with _server(401) as uri:
        check_reachable(uri)
    with _server(200) as uri:
        check_reachable(f"{uri}/")


@contextmanager
def _server(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_model_is_logged_and_registered_once_more(store, tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: {}\nmodel_uuid: x\n", encoding="utf-8")
    with Tracking(store, "models") as tracking:
        for expected in ("models:/encoder/1", "models:/encoder/2"):
            run = tracking.start("export", {})
            assert tracking.register(run, tmp_path, "encoder") == expected
            run.finish()
    from mlflow import MlflowClient

    second, first = MlflowClient(store).search_model_versions("name = 'encoder'")
    assert first.run_id != second.run_id
    files = list(Path(store.removeprefix("sqlite:///")).parent.rglob("MLmodel"))
    assert len(files) == 2


def test_a_name_that_no_registry_takes(store, tmp_path):
    with Tracking(store, "models") as tracking:
        run = tracking.start("export", {})
        with pytest.raises(InputError, match=r"^MLflow at sqlite:.* does not take the model 'a/b': .*name"):
            tracking.register(run, tmp_path, "a/b")
        run.finish("FAILED")
