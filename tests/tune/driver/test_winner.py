"""The winner of an interrupted search: the best student on disk, in every view alike."""

from __future__ import annotations

import csv
import json
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
from formula_search import a_search
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from simulation import Killed, play, space_of

from themo.config.settings import load
from themo.files.disk_space import Patience
from tune.cluster.resources import Resources
from tune.cluster.storage import Storage
from tune.driver import outcome
from tune.driver.session_state import SessionState
from tune.results.best_trials import SearchResult, table
from tune.results.mlflow_runs import SearchRuns
from tune.results.report.page import write_report
from tune.results.status import read_status
from tune.space.search_settings import SchedulerName
from tune.study.naming import STUDY_FILE
from tune.study.search import Search
from tune.study.study import Study


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_of_a_cut_search_the_best_saved_student_wins(
    scheduler: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Cut at any moment; no kill leaves the record's file other than at rest once it is read."""
    path = tmp_path_factory.mktemp("cut") / "study.json"
    scores = data.draw(st.lists(st.lists(st.floats(0, 1), min_size=9, max_size=9), min_size=4, max_size=4))
    study = Study(path, "max")
    study.save()
    with suppress(Killed):
        play(
            space_of(scheduler, len(scores)),
            study,
            lambda trial, step: scores[trial.number][step - 1],
            slots=data.draw(st.integers(1, 3)),
            choices=data.draw(st.lists(st.integers(0, 5), max_size=40)),
            moments=data.draw(st.integers(0, 60)),
        )
    study.save_if_older(0.0)  # reports that no checkpoint has followed
    found = Study.read(path)
    found.reset_to_checkpoints()
    saved = [
        max(value for pairs, value in trial.values.items() if pairs <= trial.checkpoint_pairs)
        for trial in study
        if trial.checkpoint is not None
    ]
    winner = found.winner()
    assert winner == found.leader()
    assert (None if winner is None else winner.best("max")) == max(saved, default=None)
    assert Study.reopen(path).winner() == winner


def cut(logs_dir: Path) -> tuple[Search, Study]:
    """A search whose time was up: trial 0 was interrupted beyond a checkpoint, trial 1 has ended."""
    search = a_search(logs_dir, "mine", Resources())
    study = Study(search.folder / STUDY_FILE, search.mode)
    rate = {"batch_size": 64, "weight_decay": 0.1, "warmup_steps": 10}
    for number, values in enumerate([(0.4, 0.8, 0.9), (0.0033,)]):
        study.add({"learn_rate": 10.0 ** -(number + 3), **rate})
        for step, value in enumerate(values, start=1):
            metrics = {"pairs_seen": 100.0 * step, search.objective: value, "best/val/cosine": value}
            study.report(number, metrics, search.objective)
            if step < 3:
                path = f"session-1/trial-{number:04d}/checkpoint_{step:06d}"
                study[number].enter_checkpoint(path)
    for trial in study:
        version = search.folder / "trials" / str(trial.checkpoint)
        version.mkdir(parents=True)
        (version / "config.yaml").write_text(search.settings.override(trial.params).to_yaml())
        summary = {"state": "running", "best": {search.objective: trial.saved("max")}}
        (version / "summary.json").write_text(json.dumps(summary))
    study.finish(1, "COMPLETE")
    return search, study


def finish(search: Search, study: Study) -> SearchResult:
    state = SessionState(search, study, Storage(str(search.folder / "trials")), Patience())
    return outcome.finish(state, 1)


def test_all_views_of_a_cut_search_name_the_same_winner(tmp_path: Path) -> None:
    search, study = cut(tmp_path)
    result, folder = finish(search, study), search.folder
    assert (result.best.number, result.value) == (0, 0.8)
    told = result.to_json()
    assert told["best"]["trial"] == 0
    assert (told["trials"]["running"], told["trials"]["interrupted"]) == (0, 1)
    assert load(config=folder / "best.yaml").training.learn_rate == 1e-3
    assert load(config=folder / "best" / "config.yaml").training.learn_rate == 1e-3
    assert json.loads((folder / "best" / "summary.json").read_text())["state"] == "stopped early"
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["state"], row["objective"]) for row in rows] == [
        ("INTERRUPTED", "0.8"),
        ("COMPLETE", "0.0033"),
    ]
    screen = Console(width=100)
    with screen.capture() as shown:
        screen.print(table(result, ["learn_rate"]))
    assert ["ended", "interrupted", "complete"] in [line.split() for line in shown.get().splitlines()]
    status = read_status(folder).to_json()["best"]
    assert (status["trial"], status["value"]) == (0, 0.8)
    page = " ".join(write_report(search, folder).read_text(encoding="utf-8").split())
    assert "best so far: trial 0</h2>" in page
    assert "0.8000" in page
    (point,) = SearchRuns(search, folder)().runs[0].points
    assert (point.step, point.metrics) == (1, {f"best/{search.objective}": 0.8, "trials": 1})


def test_a_resumed_search_writes_its_results_again(tmp_path: Path) -> None:
    search, study = cut(tmp_path)
    finish(search, study)
    study = Study.reopen(search.folder / STUDY_FILE)
    assert (study[0].state, study[0].pairs_seen, list(study[0].values)) == ("RUNNING", 200, [100, 200])
    assert study[0].metrics["best/val/cosine"] == 0.8  # of the checkpoint, by which equal trials are ranked
    study.report(1, {"pairs_seen": 200.0, search.objective: 0.95}, search.objective)
    study.finish(0, "COMPLETE")
    assert finish(search, study).best.number == 1
    assert load(config=search.folder / "best.yaml").training.learn_rate == 1e-4
    with (search.folder / "trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["COMPLETE", "COMPLETE"]
