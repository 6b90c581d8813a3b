from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import yaml

from themo.config.settings import load
from tune.cluster.storage import Storage
from tune.results import best_trials as results
from tune.space.search_space import from_tree
from tune.study.study import Study


@pytest.fixture
def space(settings):
    tree = {"space": {"learn_rate": {"log_uniform": [1e-5, 1e-2]}, "loss": {"choice": ["mse", "cosine"]}}}
    return from_tree(tree, settings, source="search.yaml")


@pytest.fixture
def study(tmp_path) -> Study:
    study = Study(None, "max")
    for i, (rate, values, state) in enumerate(
        [(1e-3, [0.2, 0.6, 0.5], "COMPLETE"), (1e-4, [0.1], "PRUNED"), (1e-2, [], "FAIL")]
    ):
        trial = study.add({"learn_rate": rate, "loss": "mse"})
        trial.enter_attempt(100.0 + i, 104.0 + i)
        trial.seconds = 3.5
        for n, value in enumerate(values, start=1):
            study.report(i, {"pairs_seen": 10 * n, "o": value}, "o")
        study.finish(i, state, 'diverged, "early"' if state == "FAIL" else "")
    return study


def test_the_best_settings_are_a_complete_configuration(study, settings, tmp_path):
    version = tmp_path / "trials" / "session-1" / "trial-0000" / "checkpoint_000002"
    version.mkdir(parents=True)
    (version / "config.yaml").write_text("new")
    winner = study[0]
    winner.checkpoint = "session-1/trial-0000/checkpoint_000002"
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "stale").touch()
    results.write_best(winner, settings, Storage(str(tmp_path / "trials")), tmp_path)
    assert load(config=tmp_path / "best.yaml") == settings.override({"learn_rate": 1e-3, "loss": "mse"})
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())["training"]["learn_rate"] == 1e-3
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["config.yaml"]
    assert not list(tmp_path.glob(".best*"))


def test_a_winner_whose_settings_changed_on_the_way_says_so(study, settings, tmp_path):
    version = tmp_path / "trials" / "v"
    version.mkdir(parents=True)
    (version / "summary.json").write_text('{"state": "finished"}')
    study[0].checkpoint = study[1].checkpoint = "v"
    study.take_over(1, 0, {"learn_rate": 8e-4, "loss": "mse"})
    results.write_best(study[1], settings, Storage(str(tmp_path / "trials")), tmp_path)
    assert "continued as trial 0 from 10 pairs" in (tmp_path / "best.yaml").read_text()
    summary = json.loads((tmp_path / "best" / "summary.json").read_text())
    assert summary["lineage"] == [{"donor": 0, "pairs": 10}]
    results.write_best(study[0], settings, Storage(str(tmp_path / "trials")), tmp_path)
    assert "lineage" not in json.loads((tmp_path / "best" / "summary.json").read_text())


def test_files_beside_the_winner_stay_until_it_changes(study, settings, tmp_path):
    storage, best = Storage(str(tmp_path / "trials")), tmp_path / "best"
    for number in (0, 1):  # the second one was stopped: its copy says that it is over
        version = tmp_path / "trials" / f"v{number}"
        (version / "student").mkdir(parents=True)
        (version / "student" / "weights").write_bytes(bytes([number]) * 1000)
        (version / "summary.json").write_text('{"state": "running", "best": {}}')
        study[number].checkpoint = version.name
        results.write_best(study[number], settings, storage, tmp_path)
        assert not (best / "test.json").exists()
        (best / "test.json").write_text("{}")
        results.write_best(study[number], settings, storage, tmp_path)
        assert (best / "test.json").exists()
        assert not list(tmp_path.glob(".best*"))
    (best / "student" / "weights").unlink()
    results.write_best(study[1], settings, storage, tmp_path)
    assert (best / "student" / "weights").read_bytes() == bytes([1]) * 1000


@pytest.mark.parametrize("moment", range(4))
def test_a_kill_between_winners_mixes_no_settings_and_versions(
    study, settings, tmp_path, monkeypatch, moment
):
    storage = Storage(str(tmp_path / "trials"))
    file, version = tmp_path / "best.yaml", tmp_path / "best" / "config.yaml"
    moments = itertools.count()

    def mortal(step):
        def die(*arguments: object, **named: object) -> object:
            if next(moments) == moment:
                raise KeyboardInterrupt
            return step(*arguments, **named)

        return die

    for number in (1, 0):
        own = tmp_path / "trials" / f"v{number}"
        own.mkdir(parents=True)
        (own / "config.yaml").write_text(settings.override(study[number].params).to_yaml())
        study[number].checkpoint = own.name
    results.write_best(study[1], settings, storage, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(results, "write_text", mortal(results.write_text))
        patch.setattr(Path, "rename", mortal(Path.rename))
        patch.setattr(Path, "unlink", mortal(Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            results.write_best(study[0], settings, storage, tmp_path)
    if file.exists() and version.exists():
        assert load(config=file) == load(config=version)
    results.write_best(study[0], settings, storage, tmp_path)
    assert load(config=file) == load(config=version) == settings.override(study[0].params)
    assert not list(tmp_path.glob(".best*"))


def test_the_best_so_far_in_a_line(study):
    assert results.best_so_far(study, "o") == "best o 0.6000 in trial 0: learn_rate=0.001 loss=mse"
    assert results.best_so_far(Study(None, "max"), "o") == "no report yet"


def test_a_winner_that_was_stopped_is_a_run_that_is_over(study, settings, tmp_path):
    version = tmp_path / "trials" / "v"
    version.mkdir(parents=True)
    (version / "summary.json").write_text('{"state": "running", "best": {}}')
    for number, state in ((0, "running"), (1, "stopped early")):
        study[number].checkpoint = "v"
        results.write_best(study[number], settings, Storage(str(tmp_path / "trials")), tmp_path)
        assert json.loads((tmp_path / "best" / "summary.json").read_text())["state"] == state
    assert json.loads((version / "summary.json").read_text())["state"] == "running"


def test_a_winner_whose_seconds_ended_says_so(study, settings, tmp_path):
    version = tmp_path / "trials" / "v"
    version.mkdir(parents=True)
    (version / "summary.json").write_text('{"state": "running", "best": {}}')
    study[0].checkpoint, study[0].reason = "v", "its 60 s ended at 61.5 s of training (30 pairs)"
    results.write_best(study[0], settings, Storage(str(tmp_path / "trials")), tmp_path)
    assert (tmp_path / "best.yaml").read_text().startswith("# Trial 0: its 60 s ended at 61.5 s of training")
    assert json.loads((tmp_path / "best" / "summary.json").read_text())["state"] == "stopped early"


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("RUNNING", "", "interrupted at 30 pairs"),
        ("PRUNED", "stopped at 30 pairs", "stopped at 30 pairs"),
        ("PAUSED", "paused at 30 pairs", "paused at 30 pairs"),
        ("COMPLETE", "", None),
    ],
)
def test_the_best_settings_say_if_their_trial_was_cut(study, settings, tmp_path, state, reason, said):
    (tmp_path / "trials" / "v").mkdir(parents=True)
    (tmp_path / "trials" / "v" / "summary.json").write_text("{}")
    study[0].checkpoint, study[0].state, study[0].reason = "v", state, reason
    results.write_best(study[0], settings, Storage(str(tmp_path / "trials")), tmp_path)
    notes = [line for line in (tmp_path / "best.yaml").read_text().splitlines() if line.startswith("#")]
    note = f"# Trial 0: {said}. A run with these settings continues to its end."
    assert notes == ([] if said is None else [note])


def test_an_inactive_setting_is_a_dash_in_the_table(study):
    del study[1].params["loss"]
    study[2].params["loss"] = None
    assert [results.show_setting(trial, "loss") for trial in study] == ["mse", "-", "None"]
