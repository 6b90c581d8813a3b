"""Real searches with two objectives over width and depth: the quality and the cost of a student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from documents import DOCS, blocks

import themo
from themo.cli.main import main, parse
from themo.config.settings import Settings
from themo.config.settings import load as load_settings
from tune.driver.search_options import SearchOptions
from tune.results.why import explain_trial
from tune.schedulers.decisions import decisions
from tune.space.search_space import from_tree
from tune.space.search_space import load as load_space
from tune.study.naming import SEARCH_FILE
from tune.study.search import read_search
from tune.study.study import Study

Capture = pytest.CaptureFixture[str]

(BLOCK,) = (
    text
    for language, text in blocks(DOCS / "searchers-and-schedulers.md")
    if language == "yaml" and text.startswith("# front.yaml")
)
SPACE: dict[str, Any] = yaml.safe_load(BLOCK)


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
    space = tmp_path / "front.yaml"
    space.write_text(BLOCK, encoding="utf-8")
    shared: dict[str, Any] = {"gpus_per_trial": 0, "max_concurrent": 1, "confirm": "off"}
    result = themo.tune(config=base, space=space, name="sizes", num_samples=6, **shared)
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
    assert [entry["cost"] for entry in status["front"]] == sorted(
        study[number].cost for number in result.front
    )
    assert main(["status", "sizes", *logs]) == 0
    shown = capsys.readouterr().out
    assert "Front: no trial is better than these in one objective and no worse in the other" in shown
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of Ray and MLflow
def test_a_search_by_ms_says_that_it_does_not_repeat(base: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "front.yaml").write_text(BLOCK, encoding="utf-8")
    words = [
        "tune",
        "--config",
        str(base),
        "--space",
        str(tmp_path / "front.yaml"),
        "--name",
        "fast",
        "--json",
    ]
    words += ["--second-objective", "ms", "--num-samples", "2", "--confirm", "off", "--gpus-per-trial", "0"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "Second objective: milliseconds per text" in err
    found = json.loads(out)
    assert found["second_objective"] == "ms"
    assert all(0 < entry["cost"] < 1000 for entry in found["front"])
    study = Study.read(Path(found["folder"]) / "study.json")
    assert [trial.cost for trial in study] == [trial.metrics["cost/ms"] for trial in study]


REFUSED: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "a scheduler that cannot": (
        {},
        ["--scheduler", "median"],
        "--scheduler: must be asha, pausing-asha, hyperband or none with second_objective mb, got 'median'",
    ),
    "a population": (
        {"searcher": "random", "startup_trials": None},
        ["--scheduler", "pbt"],
        "--scheduler: must be asha, pausing-asha, hyperband or none with second_objective mb, got 'pbt'",
    ),
    "a forecast": (
        {},
        ["--scheduler", "freeze-thaw"],
        "--scheduler: must be asha, pausing-asha, hyperband or none with second_objective mb, "
        "got 'freeze-thaw'",
    ),
    "a searcher that cannot": (
        {},
        ["--searcher", "cmaes"],
        "--searcher: must be tpe, gp, random or quasi-random with second_objective mb, got 'cmaes'",
    ),
    "a forecasting searcher": (
        {},
        ["--searcher", "forecast"],
        "--searcher: must be tpe, gp, random or quasi-random with second_objective mb, got 'forecast'",
    ),
    "a file's scheduler": (
        {"scheduler": "median"},
        [],
        "space.yaml: search.scheduler: must be asha, pausing-asha, hyperband or none with second_objective "
        "mb, got 'median'",
    ),
    "a file's cost": (
        {"second_objective": "gb"},
        [],
        "space.yaml: search.second_objective: must be 'mb' or 'ms', got 'gb'",
    ),
    "an unknown cost": (
        {},
        ["--second-objective", "gb"],
        "--second-objective: must be 'mb' or 'ms', got 'gb'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_two_objectives_that_cannot_be_are_refused(
    base: Path, tmp_path: Path, case: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, words, message = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    rules = {name: value for name, value in (SPACE["search"] | search).items() if value is not None}
    Path("space.yaml").write_text(yaml.safe_dump(SPACE | {"search": rules}), encoding="utf-8")
    assert main(["tune", "--config", str(base), "--space", "space.yaml", *words]) == 2
    assert capsys.readouterr().err.splitlines() == [f"Error: {message}"]
    assert not list(tmp_path.rglob(SEARCH_FILE))


def test_a_resumed_search_keeps_its_objectives(capsys: Capture) -> None:
    assert main(["tune", "--resume", "any", "--second-objective", "mb"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: --resume keeps the settings of the search: leave out --second-objective; ")


def test_the_option_of_a_second_objective_is_read() -> None:
    options = SearchOptions.of(vars(parse(["tune", "--second-objective", "ms"])))
    assert options.second_objective == "ms"


def test_a_second_objective_survives_its_file(tiny_settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "front.yaml").write_text(BLOCK, encoding="utf-8")
    space = load_space(tmp_path / "front.yaml", tiny_settings)
    again = from_tree(space.to_tree(), tiny_settings, "search.yaml")
    assert again.search.second_objective == "mb"
    assert again.searched_by(second_objective="ms").search.second_objective == "ms"
