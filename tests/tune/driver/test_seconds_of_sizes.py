"""A real search over the student's width and depth, whose trials are compared after equal seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import themo
from themo.cli.main import main, parse
from themo.config.settings import Settings
from tune.driver.search_options import SearchOptions
from tune.results.why import explain_trial
from tune.schedulers.decisions import decisions
from tune.study.naming import SEARCH_FILE
from tune.study.search import read_search
from tune.study.study import Study

SPACE: dict[str, Any] = {
    "space": {
        "hidden_size": {"choice": [16, 32, 64]},
        "hidden_layers": {"integer": [1, 2]},
        "learn_rate": {"log_uniform": [1e-4, 1e-2]},
    },
    "search": {
        "num_samples": 4,
        "searcher": "tpe",
        "startup_trials": 2,
        "grace_share": 0.25,
        "confirm": "off",
    },
}

Command = Callable[..., Any]


@pytest.fixture
def base(tiny_settings: Settings, tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    logs = tiny_settings.override({"logs_dir": str(tmp_path / "logs"), "epochs": 400.0})
    path.write_text(logs.to_yaml(), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of Ray and MLflow
def test_students_of_all_sizes_train_for_equal_seconds(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen: dict[str, Any] = {"resource": "seconds", "trial_seconds": 1.0, "max_concurrent": 1}
    result = themo.tune(config=base, space=SPACE, name="sizes", gpus_per_trial=0, **chosen)
    assert "Resource: seconds of training" in capsys.readouterr().err
    search, study = read_search(result.folder), Study.read(result.folder / "study.json")
    rules = search.space.search
    assert (rules.resource, rules.trial_seconds, rules.first_rung) == ("seconds", 1.0, 0.25)
    for trial in study:
        reports = sorted(trial.seconds_at)
        assert set(trial.values) <= set(reports)
        times = [trial.seconds_at[pairs] for pairs in reports]
        assert times == sorted(times)
        assert all(each < 1.0 for each in times[:-1])  # it ends at the first report after its time
        assert trial.state == "PRUNED" or trial.training_seconds >= 1.0
        assert trial.checkpoint_pairs == trial.pairs_seen
    found = list(decisions(study, search.space))
    assert found
    assert all(decision.is_repeated for decision in found)
    assert not any(trial.state == "FAIL" for trial in study)
    winner = themo.load(result.best.version)
    assert winner.encode(["el perro"]).shape == (1, 12)
    assert "its 1 s ended at" in (result.folder / "best.yaml").read_text(encoding="utf-8")
    why = explain_trial(result.folder, 0).to_json()
    assert (why["resource"], why["is_repeated"]) == ("seconds", True)
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "over the seconds of training." in page
    # more trials of the same search: its resource is taken up
    more = themo.tune(resume="sizes", num_samples=5, logs_dir=tmp_path / "logs", quiet=True)
    assert len(more.trials) == 5
    assert read_search(more.folder).space.search.trial_seconds == 1.0


REFUSED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "no time of a trial": (
        {},
        ["--resource", "seconds"],
        "--resource: seconds needs trial_seconds (--trial-seconds 10m), the training time of a whole trial",
    ),
    "an unknown resource": (
        {},
        ["--resource", "steps"],
        "--resource: must be 'pairs' or 'seconds', got 'steps'",
    ),
    "a time without the resource": (
        {},
        ["--trial-seconds", "10m"],
        "--trial-seconds: must be left out, resource pairs has no such setting, got 600",
    ),
    "no time at all": (
        {},
        ["--resource", "seconds", "--trial-seconds", "0"],
        "argument --trial-seconds: must be a time such as 2h30m, 45m or 90s, got '0' "
        "(see python -m themo tune --help)",
    ),
    "a first rung in pairs": (
        {"grace_share": None, "grace_pairs": 100},
        ["--resource", "seconds", "--trial-seconds", "9"],
        "--resource: seconds needs grace_share or grace_seconds, the first rung",
    ),
    "a forecast": (
        {},
        ["--resource", "seconds", "--trial-seconds", "9", "--scheduler", "freeze-thaw"],
        "--scheduler: freeze-thaw needs resource pairs, it predicts ends of trials of known pairs, "
        "got 'seconds'",
    ),
    "a forecasting searcher": (
        {},
        ["--resource", "seconds", "--trial-seconds", "9", "--searcher", "forecast"],
        "--searcher: forecast needs resource pairs, it predicts ends of trials of known pairs, got 'seconds'",
    ),
    "a population": (
        {"searcher": "random", "startup_trials": None},
        ["--resource", "seconds", "--trial-seconds", "9", "--scheduler", "pbt"],
        "--scheduler: pbt needs resource pairs, its rounds are of equal sentence pairs, got 'seconds'",
    ),
    "rungs beyond the trial": (
        {"resource": "seconds", "grace_share": None, "grace_seconds": 5, "trial_seconds": 60},
        ["--trial-seconds", "5"],
        "--trial-seconds: must be above grace_seconds 5, got 5",
    ),
    "a file's time without the resource": (
        {"trial_seconds": 60},
        [],
        "space.yaml: search.trial_seconds: must be left out, resource pairs has no such setting, got 60",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_seconds_are_refused_in_one_line(
    base: Path, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    search, words, message = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    rules = {name: value for name, value in (SPACE["search"] | search).items() if value is not None}
    Path("space.yaml").write_text(yaml.safe_dump(SPACE | {"search": rules}), encoding="utf-8")
    assert main(["tune", "--config", str(base), "--space", "space.yaml", *words]) == 2
    assert capsys.readouterr().err.splitlines() == [f"Error: {message}"]
    assert not list(tmp_path.rglob(SEARCH_FILE))


def test_options_of_a_deadline_are_read() -> None:
    words = ["tune", "--resource", "seconds", "--trial-seconds", "10m", "--time-budget", "6h"]
    options = SearchOptions.of(vars(parse(words)))
    assert (options.resource, options.trial_seconds, options.time_budget) == ("seconds", 600.0, 21_600.0)


def test_a_resumed_search_keeps_its_resource(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--resume", "any", "--resource", "pairs", "--trial-seconds", "9"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "Error: --resume keeps the settings of the search: leave out --resource, --trial-seconds; "
    )
