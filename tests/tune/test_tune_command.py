"""What `python -m themo tune` refuses before anything is booked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from formula_search import a_search

from themo.cli import main
from tune.cluster import Resources


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    a_search(tmp_path / "logs", "old", Resources(max_concurrent=1))
    return tmp_path / "logs"


MAY_BE_GIVEN = (
    "--num-samples, --stop-after-no-gain, --time-budget, --logs-dir, --address, --max-concurrent and its own "
    "--space may be given with it"
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--resume", "old", "--learn-rate", "1e-3", "--storage-path", "share", "--repeat", "old"],
            "--resume goes on with what the search began with: leave out --repeat, --storage-path, "
            f"--learn-rate; {MAY_BE_GIVEN}",
        ),
        (
            ["--repeat", "old", "--preset", "miniature", "--warm-start", "old"],
            "--repeat takes settings and space from the search that it names: leave out --preset, "
            "--warm-start",
        ),
        (["--repeat", "none"], "--repeat: there is no search at .*/tune/none: it holds no search.yaml"),
        (["--resume", "none"], "--resume: there is no search at .*/tune/none: it holds no search.yaml"),
        (
            ["--warm-start", "none"],
            "--warm-start: there is no search at .*/tune/none: it holds no search.yaml",
        ),
        (["--repeat", "../x"], "--repeat must be letters, digits, .*, got '../x'"),
        (
            ["--name", "old"],
            "--name: a search 'old' exists at .*/tune/old: choose another name, or --resume old",
        ),
        (["--stop-after-no-gain", "0"], "--stop-after-no-gain: must be a whole number above 0, got '0'"),
        (["--time-budget", "0"], "--time-budget: must be a time such as 2h30m, 45m or 90s, got '0'"),
        (
            ["--storage-path", "what://x"],
            "--storage-path must be a folder or a URI such as .*, got 'what://x': ",
        ),
        (
            ["--gpus-per-trial", "many"],
            "--gpus-per-trial: must be a number of at least 0, or auto, got 'many'",
        ),
        (["--gpus-per-trial", "1.5"], "--gpus-per-trial must be a whole number above 1, got 1.5"),
        (["--resume", "old", "--num-samples", "0"], "--num-samples: must be a whole number above 0, got '0'"),
    ],
)
def test_refusals(logs: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    before = sorted(logs.rglob("*"))
    assert main(["tune", "--logs-dir", str(logs), *options]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""

    assert re.match(rf"Error: (argument )?{message}", line), line
    assert sorted(logs.rglob("*")) == before


def test_the_cluster_of_a_submitted_job_is_taken_unless_another_place_is_given(
    logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    for options, message in (
        ([], "--address: no Ray cluster answers at 127.0.0.1:1: Connection refused"),
        (["--address", "local"], "--name: a search 'old' exists"),
    ):
        assert main(["tune", "--logs-dir", str(logs), "--name", "old", *options]) == 2
        assert capsys.readouterr().err.startswith(f"Error: {message}")
