"""A real search over the student's width and depth with two objectives: the quality, and the cost of a student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import themo
from themo.cli.main import main, parse
from themo.config.settings import Settings
from themo.config.settings import load as load_settings
from tune.driver.search_options import SearchOptions
from tune.results.why import explain_trial
from tune.schedulers.decisions import decisions
from tune.study.naming import SEARCH_FILE
from tune.study.search import read_search
from tune.study.study import Study

Capture = pytest.CaptureFixture[str]

SPACE: dict[str, Any] = {
    "space": {
        "hidden_size": {"choice": [16, 32, 64]},
        "hidden_layers": {"integer": [1, 2]},
        "learn_rate": {"log_uniform": [1e-4, 1e-2]},
    },
    "search": {
        "num_samples": 6,
        "searcher": "tpe",
        "startup_trials": 3,
        "grace_share": 0.25,
        "second_objective": "mb",
        "confirm": "off",
    },
}


@pytest.fixture
def base(tiny_settings: Settings, tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    logs = tiny_settings.override({"logs_dir": str(tmp_path / "logs")})
    path.write_text(logs.to_yaml(), encoding="utf-8")
    return path


def mb_of(version: Path) -> float:
    return sum(file.stat().st_size for file in (version / "student").iterdir()) / 1e6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of Ray and MLflow
def test_a_search_shows_its_front_of_quality_and_mb(base: Path, tmp_path: Path, capsys: Capture) -> None:
    result = themo.tune(config=base, space=SPACE, name="sizes", gpus_per_trial=0, max_concurrent=1)
    study = Study.read(result.folder / "study.json")
    for trial in study:
        assert trial.cost == trial.metrics["cost/mb"]
        version = result.folder / "trials" / str(trial.checkpoint)
        assert mb_of(version) == pytest.approx(trial.cost, abs=1e-12)
    assert [trial.cost for trial in study] == [trial.cost for trial in result.trials]
    search = read_search(result.folder)
    assert not [decision for decision in decisions(study, search.space) if not decision.is_repeated]

    for number in result.front:
        path = result.folder / "front" / f"trial-{number:04d}.yaml"
        assert load_settings(config=path) == search.settings.override(study[number].params)
    names = sorted(f"trial-{number:04d}.yaml" for number in result.front)
    assert sorted(path.name for path in (result.folder / "front").iterdir()) == names

    logs = ["--logs-dir", str(tmp_path / "logs")]
    capsys.readouterr()
    assert main(["status", "sizes", "--json", *logs]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["second_objective"] == "mb"
    assert tuple(entry["trial"] for entry in status["front"]) == result.front
    assert [entry["second_objective"] for entry in status["front"]] == sorted(
        study[number].cost for number in result.front
    )
    assert main(["status", "sizes", *logs]) == 0
    shown = capsys.readouterr().out
    assert "Front: no trial is better in one objective and no worse in the other" in shown
    stopped = next(trial.number for trial in study if trial.state == "PRUNED")
    why = explain_trial(result.folder, stopped)
    assert why.is_repeated
    assert "front" in "\n".join(why.lines())

    assert main(["report", "sizes", *logs]) == 0
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "figure-front" in page
    assert f"trial-{result.front[0]:04d}.yaml" in page
    more = themo.tune(resume="sizes", num_samples=7, logs_dir=str(tmp_path / "logs"))
    assert len(more.trials) == 7
