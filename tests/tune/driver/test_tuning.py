"""`themo.tune`; what its options make of a search: test_request.py."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from formula_search import TREE, a_search, settings_in

import themo
from themo.export import refusals
from tune.cluster.resources import Resources
from tune.driver import session
from tune.driver.search_options import SearchOptions
from tune.results.best_trials import SearchResult
from tune.space.search_space import from_tree
from tune.study.naming import SEARCH_FILE
from tune.study.study import Study

SPACE = TREE["space"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(settings_in(tmp_path / "logs").to_yaml(), encoding="utf-8")
    return path


def test_each_option_of_the_command_is_an_argument() -> None:
    arguments = set(inspect.signature(themo.tune).parameters)
    assert arguments - {"quiet"} == {option.name for option in fields(SearchOptions)}


@pytest.mark.parametrize("form", ["file", "content", "ranges", "ranges as tuples"])
def test_a_space_may_be_a_file_or_a_mapping(
    config: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = {"learn_rate": {"log_uniform": [1e-5, 1e-2]}, "pooling": {"choice": ["mean", "first"]}}
    space: Any = {"space": ranges}
    if form == "file":
        space = tmp_path / "space.yaml"
        space.write_text(json.dumps({"space": ranges}), encoding="utf-8")
    elif form != "content":
        to = tuple if "tuples" in form else list
        space = {name: {kind: to(v) for kind, v in rule.items()} for name, rule in ranges.items()}
    opened: list[Any] = []

    def run_search(search: Any, *_: object, **__: object) -> None:
        opened.append(search)
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "run_search", run_search)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").touch()
    with pytest.raises(KeyboardInterrupt):
        themo.tune(config=config, space=space, num_samples=3, name="mine", searcher="random", epochs=2.0)
    (search,) = opened
    known = from_tree({"space": ranges}, settings_in(tmp_path), "test")
    assert search.space == known.searched_by(num_samples=3, searcher="random")
    assert search.settings.training.epochs == 2.0
    assert (search.folder / SEARCH_FILE).exists()


@pytest.mark.parametrize(("given", "seconds"), [(0.5, 0.5), ("0.5", 0.5), (90, 90.0), ("1m30s", 90.0)])
def test_a_time_may_be_a_fraction_of_a_second(
    config: Path, tmp_path: Path, given: float | str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float]] = []

    def run_search(search: Any, *_: object, time_budget: float, **__: object) -> None:
        asked.append((search.space.search.trial_seconds, time_budget))
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "run_search", run_search)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").touch()
    with pytest.raises(KeyboardInterrupt):
        themo.tune(
            config=config,
            space=SPACE,
            searcher="tpe",
            scheduler="asha",
            resource="seconds",
            trial_seconds=given,
            time_budget=given,
        )
    assert asked == [(seconds, seconds)]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no trials": ({"num_samples": 0}, "--num-samples: must be a whole number above 0, got '0'"),
    "half a trial": ({"num_samples": 2.5}, r"--num-samples: must be a whole number above 0, got '2\.5'"),
    "a seed below 0": ({"search_seed": -1}, "--search-seed: must be a whole number of at least 0"),
    "no time": ({"time_budget": 0}, "--time-budget: must be a time such as 2h30m, 45m or 90s, got '0'"),
    "less than no time": ({"trial_seconds": -0.5}, "--trial-seconds: must be a time such as .*, got '-0.5'"),
    "endless time": ({"time_budget": float("inf")}, "--time-budget: must be a time such as"),
    "no GPUs": ({"gpus_per_trial": -1}, "--gpus-per-trial: must be a number of at least 0, or auto"),
    "no number of CPUs": ({"cpus_per_trial": "a"}, "--cpus-per-trial: must be a number, got 'a'"),
    "no CPU": ({"cpus_per_trial": 0}, "--cpus-per-trial must be above 0, got 0"),
    "no slot": ({"max_concurrent": 0}, "--max-concurrent: must be a whole number above 0"),
    "a number as name": ({"name": 5}, "--name: must be a string, got 5"),
    "a model's name": (
        {"register": "a/b"},
        "--register must be letters, digits, spaces and . _ -, got 'a/b'",
    ),
    "a searcher": ({"searcher": "grid"}, "--searcher: must be .*, got 'grid'"),
    "a range": ({"space": {"learn_rate": {"log": [1, 2]}}}, r"space: space\.learn_rate: must be a mapping"),
    "an unknown setting": ({"space": {"rate": {"choice": [1]}}}, r"space: space\.rate: no setting of this"),
    "no file": ({"space": "nosuch.yaml"}, r"nosuch\.yaml"),
    "a setting": ({"bach_size": 3}, "unknown setting 'bach_size'"),
    "no search": ({"config": None, "resume": "nosuch"}, "there is no search at "),
    "settings of a resume": ({"config": None, "resume": "old", "seed": 1}, "leave out --seed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line(
    config: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given, message = REFUSED[case]
    with pytest.raises(themo.InputError, match=message) as refusal:
        themo.tune(**{"config": config} | ({} if "resume" in given else {"space": SPACE}) | given)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.rglob(SEARCH_FILE))


def test_registering_without_its_packages_is_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "find_spec", lambda _: None)
    with pytest.raises(themo.InputError) as refused:
        themo.tune(config=config, space=SPACE, register="es")
    assert str(refused.value) == (
        "--register needs the extra `export` (missing: onnx, onnxscript, onnxruntime): "
        ".venv/bin/uv pip install --constraint requirements.lock --editable '.[export]'"
    )


@pytest.fixture
def searched(tmp_path: Path) -> SearchResult:
    """A search `old` whose time was up after its first trial; the winner is tested."""
    search = a_search(tmp_path / "logs", "old", Resources())
    study = Study(search.folder / "study.json", "max")
    for score, state in ((0.25, "PRUNED"), (0.5, "COMPLETE")):
        trial = study.add({"learn_rate": score})
        study.report(trial.number, {"pairs_seen": 7, search.objective: score}, search.objective)
        study.finish(trial.number, state)  # type: ignore[arg-type]
    best = search.folder / "best"
    best.mkdir()
    (best / "test.json").write_text('{"n": {}}', encoding="utf-8")
    (best / "summary.json").write_text(json.dumps({"best": {search.objective: 0.5}}), encoding="utf-8")
    winner, counts = study[1], study.counts()
    return SearchResult(
        search.folder, search.objective, "max", counts, winner, 1, 1.0, 1.0, (winner,), 3, False
    )


def test_a_search_returns_its_winner_and_its_trials(
    searched: SearchResult, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "run_search", lambda *_, **__: searched)
    result = themo.tune(resume="old", logs_dir=tmp_path / "logs", quiet=True)
    assert capfd.readouterr() == ("", "")
    assert (result.name, result.folder, result.is_whole) == ("old", searched.folder, False)
    best = result.best
    assert (best.number, best.score, best.settings) == (1, 0.5, {"learn_rate": 0.5})
    assert best.metrics == {result.objective: 0.5}
    assert best.version == searched.folder / "best"
    assert [(t.number, t.settings, t.score, t.state, t.pairs_seen) for t in result.trials] == [
        (0, {"learn_rate": 0.25}, 0.25, "pruned", 7),
        (1, {"learn_rate": 0.5}, 0.5, "complete", 7),
    ]
    assert result.test == {"n": {}}
    assert repr(result) == (
        "<themo.TuneResult 'old': 2 trials, best val/match@01 0.5000 in trial 1, incomplete>"
    )


@pytest.mark.slow
def test_a_program_may_be_named_as_the_package(tmp_path: Path) -> None:
    """Else it would import itself."""
    program = tmp_path / "tune.py"
    program.write_text(
        "import themo\ntry:\n    themo.tune(resume='nosuch')\nexcept themo.InputError as e:\n    print(e)\n"
    )
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("--resume: there is no search at "), done.stderr


def test_a_foreign_module_of_the_packages_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tune.py").touch()
    script = "import tune, themo\ntry:\n    themo.tune\nexcept themo.InputError as e:\n    print(e)\n"
    program = tmp_path / "program.py"
    program.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == (
        f"{tmp_path / 'tune.py'}: must have another name than tune.py, which is the name of Themo's package\n"
    ), done.stderr
