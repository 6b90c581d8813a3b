from __future__ import annotations

import json
from pathlib import Path

import pytest
from formula_search import a_search, no_data
from formula_training import train

from themo.cli.main import main
from themo.errors import InputError
from themo.tracking.tracked import TRACKING_FILE
from tune.cluster.resources import Resources
from tune.driver.session import run_search
from tune.results.report.page import write_report
from tune.study.search import Search, read_search
from tune.study.study import Study
from tune.study.tracking_place import (
    Comparison,
    command_to_see,
    comparison_of,
    keep_place,
    refuse_another_place,
)

SERVER = "http://someone:secret@server:5000/"


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return a_search(tmp_path / "logs", "mine", Resources())


@pytest.fixture
def folder(search: Search, tmp_path: Path) -> Path:
    return tmp_path / "logs" / "tune" / "mine"


def at(monkeypatch: pytest.MonkeyPatch, uri: str | None) -> None:
    if uri is None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)


def test_a_server_is_kept_without_its_password(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, SERVER)
    refuse_another_place(folder, "mine")  # nothing is known yet
    keep_place(folder, "mine", None)
    assert json.loads((folder / TRACKING_FILE).read_text()) == {
        "uri": "http://server:5000/",
        "experiment": "mine",
        "experiment_id": None,
    }
    at(monkeypatch, "http://other:changed@server:5000")
    refuse_another_place(folder, "mine")


def test_the_database_beside_the_logs_moves_with_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_place(folder, "mine", None)
    assert json.loads((folder / TRACKING_FILE).read_text())["uri"] is None
    (tmp_path / "logs").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "tune" / "mine"
    refuse_another_place(moved, "mine")
    at(monkeypatch, SERVER)
    assert command_to_see(moved) == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/moved/mlflow.db"


@pytest.mark.parametrize(
    ("before", "now", "experiment", "mend"),
    [
        (SERVER, None, "mine", "set MLFLOW_TRACKING_URI to the former"),
        (None, SERVER, "mine", "unset MLFLOW_TRACKING_URI"),
        (SERVER, SERVER, "other", "name the former in search.yaml"),
    ],
)
def test_another_place_is_refused(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str | None,
    now: str | None,
    experiment: str,
    mend: str,
) -> None:
    names = {SERVER: "http://server:5000/", None: f"sqlite:///{tmp_path}/logs/mlflow.db"}
    at(monkeypatch, before)
    keep_place(folder, "mine", None)
    at(monkeypatch, now)
    with pytest.raises(InputError) as caught:
        refuse_another_place(folder, experiment)
    assert str(caught.value) == (
        f"--resume: {folder}/tracking.json: the search logs to {names[before]}, experiment 'mine', "
        f"requested is {names[now]}, experiment {experiment!r}: {mend}; or, to log to the latter from now "
        "on, remove that file"
    )
    (folder / TRACKING_FILE).unlink()
    refuse_another_place(folder, experiment)


def test_the_command_refuses_before_anything_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, SERVER)
    keep_place(folder, "default", None)
    at(monkeypatch, None)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    options = ["--resume", "mine", "--num-samples", "40", "--logs-dir", str(tmp_path / "logs")]
    assert main(["tune", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: --resume: {folder}/tracking.json: the search logs to http://server:5000/")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_session_refuses_before_anything_is_written(
    search: Search, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, SERVER)
    keep_place(folder, "default", None)
    at(monkeypatch, None)
    with pytest.raises(InputError, match=r"tracking\.json: the search logs to http://server:5000/"):
        run_search(search, no_data, train)
    assert not (folder / "study.json").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of mlflow
def test_the_tracking_place_is_kept_early_and_silently(
    search: Search,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_cluster(*_: object) -> None:
        raise InputError("--address: no cluster")

    monkeypatch.setattr("tune.driver.session.connect", no_cluster)
    with pytest.raises(InputError, match="no cluster"):
        run_search(search, no_data, train)
    kept = json.loads((folder / TRACKING_FILE).read_text())
    assert kept == {"uri": None, "experiment": "default", "experiment_id": "1"}
    assert "Runs in MLflow" not in capsys.readouterr().err


def test_status_and_report_know_where_the_runs_are(
    search: Search,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at(monkeypatch, SERVER)
    keep_place(folder, "default", None)
    at(monkeypatch, None)
    study = Study(folder / "study.json", search.mode)
    study.add({"learn_rate": 1e-3, "batch_size": 64, "weight_decay": 0.1, "warmup_steps": 10})
    study.report(0, {"pairs_seen": 100, search.objective: 0.5}, search.objective)
    study[0].enter_checkpoint("session-1/trial-0000")
    study.save()
    assert main(["status", "mine", "--logs-dir", str(tmp_path / "logs")]) == 0
    assert "Compare runs:  open http://server:5000/\n" in capsys.readouterr().out
    assert "open http://server:5000/" in write_report(read_search(folder), folder).read_text()


def test_the_command_keeps_a_password_the_environment_also_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, "postgresql://someone:secret@db/mlflow")
    keep_place(folder, "default", None)
    assert command_to_see(folder) == 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'


@pytest.mark.parametrize("text", ["{", "[]", '{"uri": 5, "experiment": "e"}', '{"uri": null}'])
def test_a_damaged_file_is_named(folder: Path, text: str) -> None:
    (folder / TRACKING_FILE).write_text(text)
    with pytest.raises(InputError, match=r"/tracking\.json: must name the uri and the experiment"):
        refuse_another_place(folder, "default")


def test_the_comparison_is_a_page_of_the_experiment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, SERVER)
    assert comparison_of(folder, "u1") == Comparison("open http://server:5000/", None)
    keep_place(folder, "mine", None)
    assert comparison_of(folder, "u1").address is None  # no server has answered yet
    keep_place(folder, "mine", "7")
    keep_place(folder, "mine", None)  # a later session that finds the server away
    page = "http://server:5000/#/experiments/7/runs?viewStateShareKey=u1&compareRunsMode=CHART"
    assert comparison_of(folder, "u1") == Comparison("open http://server:5000/", page)
    assert str(comparison_of(folder, "u1")) == page


def test_the_comparison_in_a_database_needs_its_server(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, None)
    keep_place(folder, "mine", "1")
    comparison = comparison_of(folder, "u1")
    assert comparison.command == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/logs/mlflow.db"
    page = "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=u1&compareRunsMode=CHART"
    assert comparison.address == page
    assert str(comparison) == f"{comparison.command}; then open {page}"
