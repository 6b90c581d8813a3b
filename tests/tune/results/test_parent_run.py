"""The run of a search in MLflow: the winner's facts, once and up to date."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import PASSWORD, postgresql
from formula_search import a_search
from mlflow import MlflowClient

from themo.checkpoints.versions import keep_run_keys
from themo.cli.main import main
from themo.errors import InputError
from themo.evaluation.version_run import tracking_of
from themo.tracking.comparison import UI_ADDRESS, VIEW_TAG, view_address
from themo.tracking.runs import Tracking
from themo.tracking.tracked import TRACKING_FILE
from themo.tracking.unsent import MARK_FILE, Destination, destination_of, mark
from themo.tracking.uri import URI_VARIABLE, tracking_uri
from tune.cluster.resources import Resources
from tune.driver.conclusion import _send_to_mlflow
from tune.results.parent_run import register_winner, send_search, send_winner, update_in_mlflow
from tune.results.run_tags import run_key
from tune.study.search import Search, alone
from tune.study.study import Study
from tune.study.tracking_place import comparison_of, keep_place

pytestmark = [
    pytest.mark.slow,  # MLflow takes seconds to begin
    # what mlflow and sqlalchemy do among themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

SHARES = {
    "student": {"retrieval@01": 0.75, "retrieval@05": 0.9, "retrieval@10": 1.0},
    "ceiling": {"retrieval@01": 0.95, "retrieval@05": 1.0, "retrieval@10": 1.0},
}
SCORES = SHARES | {
    "n": {"retrieval": 24},
    "ci95": {row: {name: [0.0, 1.0] for name in shares} for row, shares in SHARES.items()},
    "retention": 0.789,
}


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return a_search(tmp_path / "logs", "mine", Resources())


def test_an_unsent_search_does_not_wait_for_its_winner(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The session has waited 30 s for the server, and has said how to send the search."""
    monkeypatch.setenv(URI_VARIABLE, "http://127.0.0.1:1")
    finish(search, 0.5)
    mark(search.folder, Destination("http://127.0.0.1:1", "x"))
    begun = time.monotonic()
    _send_to_mlflow(search, search.folder)
    assert time.monotonic() - begun < 5
    assert capsys.readouterr().err == ""
    assert destination_of(search.folder) is not None


def finish(search: Search, *values: float) -> None:
    """End a trial a value, and write the winner's files."""
    study = Study(search.folder / "study.json", search.mode)
    for number, value in enumerate(values):
        trial = study.add(
            {"learn_rate": 0.001 * (1 + number)} | ({"weight_decay": 0.1} if not number else {})
        )
        study.report(trial.number, {"pairs_seen": 1, search.objective: value}, search.objective)
        trial.checkpoint, trial.checkpoint_pairs = "somewhere", 1
        study.finish(trial.number, "COMPLETE")
    study.save()
    keep_place(search.folder, search.settings.paths.experiment, None)
    winner = study.winner()
    assert winner is not None
    best = search.folder / "best"
    best.mkdir(exist_ok=True)
    keep_run_keys(best, run_key(search.uid, winner), search.uid)
    (best / "test.json").write_text(json.dumps(SCORES))
    (search.folder / "best.yaml").write_text(f"winner: {winner.number}\n")
    (search.folder / "report.html").write_text("<html></html>")


def runs(search: Search) -> tuple[MlflowClient, list[Any]]:
    client = MlflowClient(tracking_uri(Path(search.settings.paths.logs_dir)))
    experiment = client.get_experiment_by_name(search.settings.paths.experiment)
    return client, list(client.search_runs([experiment.experiment_id]))


def parent(search: Search) -> tuple[MlflowClient, Any]:
    client, found = runs(search)
    (run,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return client, run


def winner_tags(run: Any) -> dict[str, str]:
    begin = "themo.winner."
    return {name.removeprefix(begin): v for name, v in run.data.tags.items() if name.startswith(begin)}


def test_the_winner_is_brought_once(search: Search) -> None:
    finish(search, 0.9, 0.4)
    for _ in range(2):  # as by a resume of the finished search
        send_winner(search, search.folder)
    client, run = parent(search)
    assert winner_tags(run) == {"trial": "0", "tested": "yes", "learn_rate": "0.001", "weight_decay": "0.1"}
    assert run.data.metrics == {
        f"best/{search.objective.replace('@', '_at_')}": 0.9,
        "trials": 2.0,
        **{f"test/{name.replace('@', '_at_')}": value for name, value in SHARES["student"].items()},
        **{f"test/ceiling/{name.replace('@', '_at_')}": value for name, value in SHARES["ceiling"].items()},
    }
    assert run.info.status == "KILLED"  # 6 trials are left
    history = client.get_metric_history(run.info.run_id, "test/retrieval_at_01")
    assert [metric.value for metric in history] == [0.75]
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert files == ["best.yaml", "report.html", "settings.json", "test.json"]
    names = sorted(run.info.run_name for run in runs(search)[1])
    assert names == ["mine", "trial 0 of mine", "trial 1 of mine"]


def test_postgresql_holds_winner_and_comparison(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow puts the artefacts of a database without a server
    with postgresql() as uri:
        monkeypatch.setenv(URI_VARIABLE, uri)
        finish(search, 0.9, 0.4)
        assert str(send_search(search.folder, 120.0)) == "3 runs sent"
        assert str(send_search(search.folder, 120.0)) == "0 runs sent"
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(search.settings.paths.experiment)
        runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
        assert sorted(runs) == ["mine", "trial 0 of mine", "trial 1 of mine"]
        assert winner_tags(runs["mine"])["trial"] == "0"
        assert runs["mine"].data.metrics["test/retrieval_at_01"] == 0.75
        files = [file.path for file in client.list_artifacts(runs["mine"].info.run_id)]
        assert files == ["best.yaml", "report.html", "settings.json", "test.json"]
        (chart,) = json.loads(experiment.tags[f"{VIEW_TAG}{search.uid}"])["compareRunCharts"]
        assert chart["selectedParams"] == ["log10_learn_rate"]
    address = comparison_of(search.folder, search.uid).address
    assert address is not None
    assert f"/experiments/{experiment.experiment_id}/runs?viewStateShareKey={search.uid}" in address
    assert PASSWORD not in (search.folder / TRACKING_FILE).read_text(encoding="utf-8")


def test_a_test_on_another_server_changes_no_run_there(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`test NAME`, then `send`, against `send` alone: the winner's version is not taken for the search."""
    finish(search, 0.9, 0.4)
    send_search(search.folder, 60.0)
    best = search.folder / "best"
    (best / "metrics.csv").write_text("pairs_seen,seconds,loss\n1800,1.5,0.25\n", encoding="utf-8")
    sent = []
    for name in ("tested", "sent"):
        monkeypatch.setenv(URI_VARIABLE, f"sqlite:///{tmp_path / name}.db")
        if name == "tested":
            with tracking_of(search.settings, best):
                (best / "test.json").write_text(json.dumps(SCORES), encoding="utf-8")
        assert send_search(search.folder, 60.0).changed == 3
        assert not (search.folder / MARK_FILE).exists()
        run = parent(search)[1]
        own = {key: v for key, v in run.data.tags.items() if not key.startswith("mlflow.")}
        sent.append((run.info.run_name, run.data.params, run.data.metrics, own))
    assert sent[0] == sent[1]


def test_another_winner_takes_the_place_of_the_first(search: Search) -> None:
    finish(search, 0.9, 0.4)
    send_winner(search, search.folder)
    finish(search, 0.9, 0.4, 0.95)
    (search.folder / "best" / "test.json").unlink()  # its test failed
    update_in_mlflow(search, search.folder)
    client, run = parent(search)
    assert winner_tags(run) == {"trial": "2", "tested": "no", "learn_rate": "0.003"}
    kept = client.download_artifacts(run.info.run_id, "best.yaml", str(search.folder))
    assert Path(kept).read_text() == "winner: 2\n"


def test_files_of_an_earlier_winner_are_left_out(search: Search) -> None:
    finish(search, 0.9, 0.4)
    keep_run_keys(search.folder / "best", f"{search.uid}/1", search.uid)  # as a kill leaves it
    send_winner(search, search.folder)
    client, run = parent(search)
    assert winner_tags(run)["tested"] == "no"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["settings.json"]


def test_a_server_that_is_away_gets_the_winner_later(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    monkeypatch.setattr(Tracking.close, "__defaults__", (0.1,))
    finish(search, 0.9, 0.4)
    send_winner(search, search.folder)
    hint = f"are not all sent yet; send them with: python -m themo send {search.folder}\n"
    assert hint in capsys.readouterr().err
    known = destination_of(search.folder)
    assert known is not None
    assert known.uri == "http://127.0.0.1:9"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(InputError, match=r"no MLflow server answers at http://127\.0\.0\.1:9"):
        send_search(search.folder, 1.0)
    here = tracking_uri(Path(search.settings.paths.logs_dir))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", here)  # the server has moved: it gets everything
    assert str(send_search(search.folder, 60.0)) == "3 runs sent"
    assert str(send_search(search.folder, 60.0)) == "0 runs sent"
    assert not (search.folder / MARK_FILE).exists()
    _, found = runs(search)
    assert sorted(run.info.run_name for run in found) == ["mine", "trial 0 of mine", "trial 1 of mine"]
    assert "RUNNING" not in {run.info.status for run in found}
    assert winner_tags(parent(search)[1])["trial"] == "0"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    send_winner(search, search.folder)  # that place is kept


def test_a_running_search_is_not_sent_by_others(search: Search) -> None:
    finish(search, 0.9)
    with (
        alone(search.folder),
        pytest.raises(InputError, match="the search is running and sends its runs itself"),
    ):
        send_search(search.folder, 1.0)


def test_a_removed_database_gets_all_runs_again(search: Search) -> None:
    finish(search, 0.9, 0.4)
    send_winner(search, search.folder)
    (Path(search.settings.paths.logs_dir) / "mlflow.db").unlink()
    update_in_mlflow(search, search.folder)
    _, found = runs(search)
    assert sorted(run.info.run_name for run in found) == ["mine", "trial 0 of mine", "trial 1 of mine"]


@pytest.fixture
def _finished(search: Search) -> None:
    finish(search, 0.9)


@pytest.fixture
def _elsewhere(_finished: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")


@pytest.fixture
def _running(_finished: None, search: Search) -> Iterator[None]:
    with alone(search.folder):
        yield


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (
            "_elsewhere",
            r"report mine: .*tracking\.json: the search logs to .*, requested is http://127.0.0.1:9",
        ),
        ("_running", "the search is running and updates its run at its end"),
    ],
)
def test_a_report_that_is_not_renewed_says_why(
    search: Search, state: str, reason: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture
) -> None:
    request.getfixturevalue(state)
    capsys.readouterr()
    update_in_mlflow(search, search.folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"Not updated in MLflow: .*{reason}", line)


def test_a_report_names_the_page_that_compares(search: Search, capsys: pytest.CaptureFixture[str]) -> None:
    finish(search, 0.9, 0.4)
    keep_place(search.folder, search.settings.paths.experiment, "1")
    assert main(["report", str(search.folder)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{search.folder / 'report.html'}\n"
    command = comparison_of(search.folder, search.uid).command
    assert command.startswith("mlflow ui --backend-store-uri ")
    address = view_address(UI_ADDRESS, "1", search.uid)
    assert err.endswith(f"Compare runs:  {command}\nIts trials:    {address}\n")


def test_a_search_that_never_logged_has_nothing_to_renew(
    search: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(search, 0.9)
    (search.folder / TRACKING_FILE).unlink()
    capsys.readouterr()
    update_in_mlflow(search, search.folder)
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match=r"tracking\.json: no such file; `tune --resume mine` writes it"):
        register_winner(search, search.folder / "best", "es")
