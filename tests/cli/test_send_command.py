"""The command `send`: the folders that MLflow does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from themo.cli.main import main
from themo.config.settings import load
from themo.tracking.unsent import Destination, Mark, mark
from themo.tracking.uri import default_uri

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def version(logs: Path, number: int) -> Path:
    folder = logs / "miniature" / f"version_{number}"
    folder.mkdir(parents=True)
    settings = load(overrides={"logs_dir": str(logs)})
    (folder / "config.yaml").write_text(settings.to_yaml(), encoding="utf-8")
    (folder / "metrics.csv").write_text("pairs_seen,seconds,loss\n100,1.5,0.25\n", encoding="utf-8")
    return folder


def test_nothing_waits(logs: Path, capsys: Capture) -> None:
    assert main(["send", "--logs-dir", str(logs)]) == 0
    assert capsys.readouterr().out == f"Nothing to send in {logs}\n"


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("none", "must be a search or version directory, but does not exist"),
        ("tune", "must be a search or version directory, but has no config.yaml"),
        (
            "outbox/a.jsonl",
            "queues of older versions are no longer read: give the search or version directory, which has "
            "all records",
        ),
        ("tune/mine/best", "is part of a search: give {logs}/tune/mine"),
        (
            "tune/mine/trials/session-1/trial-0000/checkpoint_000001",
            "is part of a search: give {logs}/tune/mine",
        ),
    ],
)
def test_a_folder_without_a_record_is_refused(logs: Path, capsys: Capture, name: str, rule: str) -> None:
    (logs / "tune" / "mine").mkdir(parents=True)
    (logs / "tune" / "mine" / "search.yaml").touch()
    assert main(["send", str(logs / name)]) == 2
    assert capsys.readouterr().err == f"Error: {logs / name}: {rule.format(logs=logs)}\n"


@pytest.mark.slow  # MLflow takes seconds to begin
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of mlflow
def test_a_folder_that_cannot_be_sent_does_not_hold_up_others(logs: Path, capsys: Capture) -> None:
    folders = [version(logs, number) for number in range(3)]
    mark(folders[0], Destination("http://127.0.0.1:9", "miniature"))
    mark(folders[1], Destination(None, "miniature"))
    held = Mark(folders[2])  # of a training in progress
    assert main(["send", "--logs-dir", str(logs)]) == 2
    printed = capsys.readouterr()
    assert printed.out == f"{folders[1]}: 1 run sent; MLflow at {default_uri(logs)}\n"
    lines = " ".join(printed.err.split())
    assert "Not sent: no MLflow server answers at http://127.0.0.1:9" in lines
    assert lines.endswith("Error: send: 1 of 2 folders could not be sent")
    held.release(is_sent=True)
    assert main(["send", str(folders[1]), "--logs-dir", str(logs)]) == 0
    assert capsys.readouterr().out == f"{folders[1]}: 0 runs sent; MLflow at {default_uri(logs)}\n"
