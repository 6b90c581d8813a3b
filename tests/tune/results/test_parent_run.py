"""The run of a search in MLflow: the winner's facts, once and up to date."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from formula_search import a_search
from mlflow import MlflowClient

from themo.checkpoints.versions import keep_run_keys
from themo.errors import InputError
from themo.tracking.runs import Tracking, outbox_path, send
from themo.tracking.uri import tracking_uri
from tune.cluster.resources import Resources
from tune.driver.stages import runs_of
from tune.results.parent_run import bring_winner, register_winner, renew
from tune.results.run_tags import run_key
from tune.study.search import Search, alone
from tune.study.study import Study
from tune.study.tracking_place import TRACKING_FILE, keep_place

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


def outbox(search: Search) -> Path:
    return outbox_path(Path(search.settings.paths.logs_dir), f"mine-{search.uid}")


def finish(search: Search, *values: float) -> None:
    """End a trial a value, log them, and write the winner's files."""
    study = Study(search.folder / "study.json", search.mode)
    for number, value in enumerate(values):
        trial = study.add(
            {"learn_rate": 0.001 * (1 + number)} | ({"weight_decay": 0.1} if not number else {})
        )
        study.report(trial.number, {"pairs_seen": 1, search.objective: value}, search.objective)
        trial.checkpoint, trial.checkpoint_pairs = "somewhere", 1
        study.finish(trial.number, "COMPLETE")
    study.save()
    logs_dir, experiment = Path(search.settings.paths.logs_dir), search.settings.paths.experiment
    with Tracking(tracking_uri(logs_dir), experiment, outbox(search), must_answer=False) as tracking:
        keep_place(search.folder, experiment, tracking.experiment_id)
        runs_of(search, study, tracking).close("FINISHED")
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
        bring_winner(search, search.folder)
    client, run = parent(search)
    assert winner_tags(run) == {"trial": "0", "tested": "yes", "learn_rate": "0.001", "weight_decay": "0.1"}
    assert run.data.metrics == {
        f"best/{search.objective.replace('@', '_at_')}": 0.9,
        "trials": 2.0,
        **{f"test/{name.replace('@', '_at_')}": value for name, value in SHARES["student"].items()},
        **{f"test/ceiling/{name.replace('@', '_at_')}": value for name, value in SHARES["ceiling"].items()},
    }
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "test/retrieval_at_01")
    assert [metric.value for metric in history] == [0.75]
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert files == ["best.yaml", "report.html", "settings.json"]


def test_another_winner_takes_the_place_of_the_first(search: Search) -> None:
    finish(search, 0.9, 0.4)
    bring_winner(search, search.folder)
    finish(search, 0.9, 0.4, 0.95)
    (search.folder / "best" / "test.json").unlink()  # its test failed
    renew(search, search.folder)
    client, run = parent(search)
    assert winner_tags(run) == {"trial": "2", "tested": "no", "learn_rate": "0.003"}
    kept = client.download_artifacts(run.info.run_id, "best.yaml", str(search.folder))
    assert Path(kept).read_text() == "winner: 2\n"


def test_files_of_an_earlier_winner_are_left_out(search: Search) -> None:
    finish(search, 0.9, 0.4)
    keep_run_keys(search.folder / "best", f"{search.uid}/1", search.uid)  # as a kill leaves it
    bring_winner(search, search.folder)
    client, run = parent(search)
    assert winner_tags(run)["tested"] == "no"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["settings.json"]


def test_a_server_that_is_away_gets_the_winner_later(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as away:
        away.setattr(Tracking, "_send", lambda _: None)
        away.setattr("themo.tracking.runs.CLOSE_SECONDS", 0.0)
        away.setattr(Tracking.close, "__defaults__", (0.0,))
        finish(search, 0.9, 0.4)
        (Path(search.settings.paths.logs_dir) / "mlflow.db").touch()
        bring_winner(search, search.folder)
    assert "records are not sent yet; send them with" in capsys.readouterr().err
    sent = send(outbox(search))
    assert (sent.refused, sent.aside) == (0, 0)
    _, found = runs(search)
    assert sorted(run.info.run_name for run in found) == ["mine", "trial 0 of mine", "trial 1 of mine"]
    assert winner_tags(parent(search)[1])["trial"] == "0"


@pytest.fixture
def _finished(search: Search) -> None:
    finish(search, 0.9)


@pytest.fixture
def _elsewhere(_finished: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")


@pytest.fixture
def _without_database(_finished: None, search: Search) -> None:
    (Path(search.settings.paths.logs_dir) / "mlflow.db").unlink()


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
        ("_without_database", r"mlflow\.db: no such database; `tune --resume mine` makes the runs again"),
        ("_running", "the search is running, and renews its run at its end"),
    ],
)
def test_a_report_that_is_not_renewed_says_why(
    search: Search, state: str, reason: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture
) -> None:
    request.getfixturevalue(state)
    capsys.readouterr()
    renew(search, search.folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"Not renewed in MLflow: .*{reason}", line)


def test_a_search_that_never_logged_has_nothing_to_renew(
    search: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(search, 0.9)
    (search.folder / TRACKING_FILE).unlink()
    capsys.readouterr()
    renew(search, search.folder)
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match=r"tracking\.json: no such file; `tune --resume mine` writes it"):
        register_winner(search, search.folder / "best", "es")
