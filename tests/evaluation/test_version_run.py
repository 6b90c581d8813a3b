"""The run of a version: one, whoever adds to it and wherever its records wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from benchmarks.chaos.server import free_port
from themo.checkpoints.version_run import join_run, tracking_of
from themo.checkpoints.versions import keep_run_keys, read_run_keys
from themo.config.settings import Settings, load
from themo.tracking.outbox import left_behind
from themo.tracking.runs import Tracking, outbox_path
from themo.tracking.uri import tracking_uri

pytestmark = [
    pytest.mark.slow,  # MLflow takes seconds to begin
    # what mlflow and sqlalchemy do among themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

KEY = "0123456789abcdef"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(overrides={"logs_dir": str(tmp_path / "logs"), "learn_rate": 1e-3})


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "logs" / "miniature" / "version_0"
    folder.mkdir(parents=True)
    return folder


def begin(tracking: Tracking) -> None:
    """A training's run."""
    tracking.start("miniature/version_0", {}, key=KEY).finish("KILLED")


def score(settings: Settings, version: Path, **metrics: float) -> None:
    with tracking_of(settings, version) as tracking:
        join_run(tracking, version, settings).measure(metrics)


def runs(settings: Settings) -> list[Any]:
    client = MlflowClient(tracking_uri(Path(settings.paths.logs_dir)))
    experiment = client.get_experiment_by_name(settings.paths.experiment)
    return list(client.search_runs([experiment.experiment_id]))


def test_a_version_without_a_key_gets_one_run(settings: Settings, version: Path) -> None:
    for value in (0.5, 0.25):
        score(settings, version, **{"test/retrieval@01": value})
    (key,) = read_run_keys(version)
    (run,) = runs(settings)
    assert (run.info.run_name, run.info.status) == ("miniature/version_0", "FINISHED")
    assert (run.data.tags["themo.run"], run.data.params["learn_rate"]) == (key, "0.001")
    assert run.data.metrics == {"test/retrieval_at_01": 0.25}


def test_scores_join_the_run_of_the_training(
    settings: Settings, version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_run_keys(version, KEY)
    with tracking_of(settings, None) as tracking:
        begin(tracking)
    score(settings, version, score=0.5)
    (run,) = runs(settings)
    assert (run.info.status, run.data.metrics) == ("KILLED", {"score": 0.5})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("key", [KEY, f"{KEY}/3"])
def test_scores_follow_the_queued_records_of_their_run(
    settings: Settings, version: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a training, or a search, whose server was away at its end."""
    keep_run_keys(version, key)
    logs_dir = Path(settings.paths.logs_dir)
    owner = f"train-{KEY}" if key == KEY else f"small-{KEY}"
    uri, experiment, outbox = tracking_uri(logs_dir), settings.paths.experiment, outbox_path(logs_dir, owner)
    with monkeypatch.context() as patch:
        patch.setattr("themo.tracking.delivery.Delivery.carry_out", lambda *_: pytest.fail("it was sent"))
        patch.setattr(Tracking, "_send", lambda _: None)  # the server is away
        tracking = Tracking(uri, experiment, outbox, must_answer=False)
        tracking.start("the training", {}, key=key).finish()
        tracking.close(0.0, warn=False)
    assert left_behind(outbox.parent) == [outbox]
    score(settings, version, score=0.5)
    (run,) = runs(settings)
    assert (run.info.run_name, run.data.metrics) == ("the training", {"score": 0.5})
    assert left_behind(outbox.parent) == []


def test_another_server_gets_a_run_and_the_user_is_told(
    settings: Settings,
    version: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep_run_keys(version, KEY)
    away = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away)
    outbox = outbox_path(Path(settings.paths.logs_dir), f"train-{KEY}")
    tracking = Tracking(away, settings.paths.experiment, outbox, must_answer=False)
    begin(tracking)
    tracking.close(0.0, warn=False)
    there = f"sqlite:///{tmp_path / 'there.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", there)
    capsys.readouterr()
    for _ in range(2):
        score(settings, version, score=0.5)
    line = (
        f"MLflow at {there}, experiment 'miniature', has no run of miniature/version_0: "
        "it is logged as a new run\n"
    )
    assert capsys.readouterr().err == line
    (run,) = runs(settings)
    assert run.data.metrics == {"score": 0.5}
    assert left_behind(outbox.parent) == [outbox], "the training's records stay where they belong"
