"""The run of a version: one, computed from its directory, whoever adds to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from themo.checkpoints.versions import keep_run_keys, read_run_keys
from themo.config.settings import Settings, load
from themo.errors import InputError
from themo.evaluation.version_run import project_version, send_version, tracking_of
from themo.tracking.mirror import Mirror
from themo.tracking.projection import Projection, Run
from themo.tracking.runs import Tracking
from themo.tracking.tracked import TRACKING_FILE
from themo.tracking.unsent import MARK_FILE, Destination, Mark, destination_of, mark
from themo.tracking.uri import tracking_uri

pytestmark = [
    pytest.mark.slow,  # MLflow takes seconds to begin
    # what mlflow and sqlalchemy do among themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

KEY = "0123456789abcdef"
AWAY = "http://127.0.0.1:9"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(overrides={"logs_dir": str(tmp_path / "logs"), "learn_rate": 1e-3})


@pytest.fixture
def version(settings: Settings, tmp_path: Path) -> Path:
    """A version whose training has finished."""
    folder = tmp_path / "logs" / "miniature" / "version_0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    (folder / "metrics.csv").write_text(
        "pairs_seen,seconds,val/match@01\n100,1.5,0.25\n200,3.0,0.5\n", encoding="utf-8"
    )
    state(folder, state="finished")
    return folder


def state(version: Path, **summary: str) -> None:
    (version / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def score(settings: Settings, version: Path, value: float, must_answer: bool = True) -> None:
    with tracking_of(settings, version, must_answer=must_answer):
        test = {"student": {"retrieval@01": value}, "n": {"retrieval": 8}}
        (version / "test.json").write_text(json.dumps(test), encoding="utf-8")


def client_of(settings: Settings) -> MlflowClient:
    return MlflowClient(tracking_uri(Path(settings.paths.logs_dir)))


def runs(settings: Settings) -> list[Any]:
    client = client_of(settings)
    experiment = client.get_experiment_by_name(settings.paths.experiment)
    return list(client.search_runs([experiment.experiment_id]))


@pytest.mark.parametrize(
    ("summary", "status"),
    [
        ({"state": "finished"}, "FINISHED"),
        ({"state": "stopped early"}, "FINISHED"),
        ({"state": "running", "ended": "FAILED"}, "FAILED"),
        ({"state": "running", "ended": "KILLED"}, "KILLED"),
        ({"state": "running"}, "KILLED"),  # by a SIGKILL
    ],
)
def test_a_run_ends_as_its_directory_says(
    settings: Settings, version: Path, summary: dict[str, str], status: str
) -> None:
    state(version, **summary)
    (run,) = project_version(version, settings, KEY).runs
    assert run.status == status


def test_reports_have_the_times_of_training(settings: Settings, version: Path) -> None:
    (run,) = project_version(version, settings, KEY).runs
    written = int((version / "metrics.csv").stat().st_mtime * 1000)
    assert [(point.step, written - point.at) for point in run.points] == [(100, 1500), (200, 0)]
    assert run.started == written - 3000


def test_a_version_without_a_key_gets_one_whole_run(
    settings: Settings, version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in (0.5, 0.25):
        score(settings, version, value)
    (key,) = read_run_keys(version)
    (run,) = runs(settings)
    assert (run.info.run_name, run.info.status) == ("miniature/version_0", "FINISHED")
    assert (run.data.tags["themo.run"], run.data.params["learn_rate"]) == (key, "0.001")
    assert run.data.metrics["test/retrieval_at_01"] == 0.25
    history = client_of(settings).get_metric_history(run.info.run_id, "val/match_at_01")
    assert [(entry.step, entry.value) for entry in history] == [(100, 0.25), (200, 0.5)]
    assert capsys.readouterr().err.count("has no run of miniature/version_0: it is logged as a new run") == 1


def test_scores_join_the_run_of_the_training(
    settings: Settings, version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_run_keys(version, KEY)
    uri, experiment = tracking_uri(Path(settings.paths.logs_dir)), settings.paths.experiment
    with Tracking(uri, experiment, lambda: project_version(version, settings, KEY, "RUNNING")):
        pass
    score(settings, version, 0.5)  # of a training that another process runs
    (run,) = runs(settings)
    assert run.info.status == "RUNNING"
    assert run.data.metrics["test/retrieval_at_01"] == 0.5
    files = [file.path for file in client_of(settings).list_artifacts(run.info.run_id)]
    assert files == ["settings.json", "test.json"]
    assert capsys.readouterr().err == ""


def test_scores_bring_a_training_that_was_not_sent(settings: Settings, version: Path) -> None:
    """The server was unreachable at the end of training."""
    keep_run_keys(version, KEY)
    mark(version, Destination(None, "miniature"))
    score(settings, version, 0.5)
    (run,) = runs(settings)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["val/match_at_01"] == run.data.metrics["test/retrieval_at_01"] == 0.5
    assert destination_of(version) is None


def test_a_failed_test_sends_a_training_that_was_not_sent(settings: Settings, version: Path) -> None:
    keep_run_keys(version, KEY)
    mark(version, Destination(None, "miniature"))
    with pytest.raises(InputError, match="damaged"), tracking_of(settings, version):
        raise InputError("a picture is damaged")
    (run,) = runs(settings)
    assert (run.info.status, run.data.metrics["val/match_at_01"]) == ("FINISHED", 0.5)
    assert destination_of(version) is None


def test_a_failed_test_creates_no_run(settings: Settings, version: Path) -> None:
    score(settings, version, 0.5)
    other = settings.override({"experiment": "other"})
    with pytest.raises(InputError, match="damaged"), tracking_of(other, version):
        raise InputError("a picture is damaged")
    assert runs(other) == []


def test_scores_go_to_the_run_of_a_training_in_progress(
    settings: Settings, version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training holds the mark, and sends its reports itself."""
    keep_run_keys(version, KEY)
    state(version, state="running")
    uri, experiment = tracking_uri(Path(settings.paths.logs_dir)), settings.paths.experiment
    training = Tracking(uri, experiment, lambda: project_version(version, settings, KEY, "RUNNING"), version)
    assert training.flush(60.0)
    score(settings, version, 0.5)
    (run,) = runs(settings)
    assert (run.info.status, run.data.metrics["test/retrieval_at_01"]) == ("RUNNING", 0.5)
    assert destination_of(version) is not None
    assert training.close(60.0)
    assert destination_of(version) is None
    assert capsys.readouterr().err == ""


def test_a_run_that_its_training_creates_is_created_once(settings: Settings, version: Path) -> None:
    """Before its first step the training has no run in MLflow."""
    keep_run_keys(version, KEY)
    held = Mark(version)
    held.write(Destination(None, "miniature"))
    score(settings, version, 0.5)
    held.release(is_sent=False)
    assert runs(settings) == []
    assert destination_of(version) is not None


def test_a_mark_of_another_server_stays(
    settings: Settings, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_run_keys(version, KEY)
    mark(version, Destination(AWAY, "miniature"))
    score(settings, version, 0.5)
    (run,) = runs(settings)
    assert run.data.metrics["test/retrieval_at_01"] == 0.5
    assert destination_of(version) == Destination(AWAY, "miniature")


def search_with(part: str, version: Path, settings: Settings) -> Path:
    """The version as part of a search that is in MLflow, with one trial."""
    search = version.parent.parent / "tune" / "mine"
    (search / part).parent.mkdir(parents=True)
    (search / "search.yaml").write_text(f"name: mine\nuid: {KEY}\n", encoding="utf-8")
    return version.rename(search / part)


def send_search_of(settings: Settings) -> None:
    search, trial = Run(KEY, "mine"), Run(f"{KEY}/3", "trial 3 of mine", parent=KEY)
    Mirror(tracking_uri(Path(settings.paths.logs_dir)), settings.paths.experiment).sync(
        Projection((search, trial))
    )


TRIAL = "trials/session-1/trial-0003-from-100/checkpoint_000002"


@pytest.mark.parametrize(("part", "name"), [("best", "mine"), (TRIAL, "trial 3 of mine")])
def test_scores_of_a_part_of_a_search_go_to_its_run(
    settings: Settings, version: Path, part: str, name: str
) -> None:
    version = search_with(part, version, settings)
    if part == "best":
        keep_run_keys(version, f"{KEY}/3", KEY)
    send_search_of(settings)
    score(settings, version, 0.5)
    found = {run.info.run_name: run.data.metrics for run in runs(settings)}
    assert found == {"mine": {}, "trial 3 of mine": {}} | {name: {"test/retrieval_at_01": 0.5}}


def test_scores_of_an_unknown_folder_of_trials_are_refused(settings: Settings, version: Path) -> None:
    version = search_with("trials/session-1/other/checkpoint_000002", version, settings)
    send_search_of(settings)
    rule = "other: the folder of a trial must be named trial-NUMBER or confirms-NUMBER-seed-SEED, got 'other'"
    with pytest.raises(InputError, match=f"{rule}$"):
        score(settings, version, 0.5)


@pytest.mark.parametrize("part", ["best", TRIAL])
def test_a_search_that_a_server_lacks_is_not_made_of_a_version(
    settings: Settings, version: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    version = search_with(part, version, settings)
    if part == "best":
        keep_run_keys(version, f"{KEY}/3", KEY)
    score(settings, version, 0.5)
    assert runs(settings) == []
    search = Path(settings.paths.logs_dir) / "tune" / "mine"
    assert destination_of(search) == Destination(None, "miniature")
    printed = capsys.readouterr().err
    assert printed.startswith(f"MLflow at {tracking_uri(search.parent.parent)}, experiment 'miniature', has")
    assert printed.endswith(
        f"its scores are not logged; to send the search first: python -m themo send {search}\n"
    )


@pytest.mark.parametrize("name", ["best", "mine-best"])
def test_scores_of_a_moved_best_make_a_run(
    settings: Settings, version: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has the keys of its search, but the folder above is no search, which `send` would refuse."""
    moved = version.rename(version.with_name(name))
    keep_run_keys(moved, f"{KEY}/3", KEY)
    score(settings, moved, 0.5)
    (run,) = runs(settings)
    assert (run.data.tags["themo.run"], run.data.metrics["test/retrieval_at_01"]) == (KEY, 0.5)
    assert destination_of(moved.parent) is None
    assert capsys.readouterr().err.endswith(f"has no run of miniature/{name}: it is logged as a new run\n")


def test_scores_that_a_server_did_not_take_mark_the_search(
    settings: Settings, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = search_with("best", version, settings)
    keep_run_keys(best, f"{KEY}/3", KEY)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    monkeypatch.setattr(Tracking.close, "__defaults__", (0.1,))
    score(settings, best, 0.5, must_answer=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert destination_of(best.parent) == Destination(AWAY, "miniature"), "the search is to be sent"


@pytest.mark.parametrize("part", ["best", TRIAL])
@pytest.mark.parametrize("answers", [True, False])
def test_a_search_that_logs_elsewhere_is_not_marked(
    settings: Settings,
    version: Path,
    part: str,
    answers: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    version = search_with(part, version, settings)
    if part == "best":
        keep_run_keys(version, f"{KEY}/3", KEY)
    search = Path(settings.paths.logs_dir) / "tune" / "mine"
    (search / TRACKING_FILE).write_text('{"uri": null, "experiment": "miniature"}', encoding="utf-8")
    there = f"sqlite:///{tmp_path / 'there.db'}" if answers else AWAY
    monkeypatch.setenv("MLFLOW_TRACKING_URI", there)
    monkeypatch.setattr(Tracking.close, "__defaults__", (60.0 if answers else 0.1,))
    score(settings, version, 0.5, must_answer=False)
    assert not (search / MARK_FILE).exists()
    printed = capsys.readouterr().err
    assert "themo send" not in printed
    if answers:
        assert printed.startswith(f"MLflow at {there}, experiment 'miniature', has no run of ")
        own = f"sqlite:///{search.parent.parent / 'mlflow.db'}, experiment 'miniature'\n"
        assert printed.endswith(f": its scores are not logged, because the search logs to {own}")


def test_scores_join_a_search_that_was_sent_elsewhere(
    settings: Settings, version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = search_with(TRIAL, version, settings)
    (version.parents[3] / TRACKING_FILE).write_text('{"uri": null, "experiment": "miniature"}', "utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'there.db'}")
    send_search_of(settings)
    score(settings, version, 0.5)
    found = {run.info.run_name: run.data.metrics for run in runs(settings)}
    assert found == {"mine": {}, "trial 3 of mine": {"test/retrieval_at_01": 0.5}}


def test_scores_of_an_unsent_searchs_best_wait_for_it(settings: Settings, version: Path) -> None:
    """Its own run would be that of a version; `send` brings the search with all."""
    best = search_with("best", version, settings)
    keep_run_keys(best, f"{KEY}/3", KEY)
    mark(best.parent, Destination(None, "miniature"))
    score(settings, best, 0.5)
    assert runs(settings) == []
    assert destination_of(best.parent) is not None


def test_another_server_gets_a_whole_run_with_a_notice(
    settings: Settings,
    version: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep_run_keys(version, KEY)
    score(settings, version, 0.5)
    there = f"sqlite:///{tmp_path / 'there.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", there)
    capsys.readouterr()
    for _ in range(2):
        score(settings, version, 0.5)
    line = (
        f"MLflow at {there}, experiment 'miniature', has no run of miniature/version_0: "
        "it is logged as a new run\n"
    )
    assert capsys.readouterr().err == line
    (run,) = runs(settings)
    assert run.data.metrics["val/match_at_01"] == run.data.metrics["test/retrieval_at_01"] == 0.5


def test_a_version_is_sent_to_its_place_or_elsewhere(
    settings: Settings, version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_run_keys(version, KEY)
    there = f"sqlite:///{tmp_path / 'there.db'}"
    mark(version, Destination(there, "miniature"))
    assert send_version(version, 60.0).changed == 1
    assert not (version / MARK_FILE).exists()
    assert not (tmp_path / "logs" / "mlflow.db").exists()
    assert send_version(version, 60.0).changed == 1  # to the database beside the logs
    monkeypatch.setenv("MLFLOW_TRACKING_URI", there)
    assert send_version(version, 60.0).changed == 0
    (run,) = runs(settings)
    assert (run.info.status, run.data.metrics["val/match_at_01"]) == ("FINISHED", 0.5)


def test_a_training_in_progress_is_not_sent_by_others(version: Path) -> None:
    held = Mark(version)
    with pytest.raises(InputError, match="another process sends its runs"):
        send_version(version, 1.0)
    held.release(is_sent=True)
