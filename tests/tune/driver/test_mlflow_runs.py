"""A search in MLflow, the connection replaced; with a server it is tested in `test_session`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, call

from formula_search import a_search

from tune.cluster.resources import Resources
from tune.driver.mlflow_runs import MlflowRuns, axes_of
from tune.driver.stages import runs_of
from tune.space.dimensions import Choice
from tune.study.study import Study
from tune.study.trial_record import Takeover, Trial


def test_the_best_of_a_search_is_none_that_failed() -> None:
    study = Study(None, "max")
    runs = MlflowRuns(MagicMock(), study, "mine", "uid", {}, [], "o")
    for value in (0.9, 0.4):
        study.report(study.add({}).number, {"pairs_seen": 1, "o": value}, "o")
    for number, done in ((0, {"trials": 1}), (1, {"trials": 2})):
        study.finish(number, "FAIL" if number == 0 else "COMPLETE")
        runs.on_trial_complete(trial=SimpleNamespace(config={"number": number}))
        runs.parent.report.assert_called_with({"best/o": 0.4} | done, step=number + 1)


def test_a_trial_that_was_stopped_waiting_is_tagged_with_why() -> None:
    study = Study(None, "max")
    tracking = MagicMock()
    tracking.start.side_effect = lambda *_, **__: MagicMock()
    runs = MlflowRuns(tracking, study, "mine", "uid", {}, [], "o")
    study.report(study.add({}).number, {"pairs_seen": 1, "o": 0.4}, "o")
    runs.on_trial_start(trial=SimpleNamespace(config={"number": 0}))
    study.finish(0, "PAUSED")
    runs.on_trial_complete(trial=SimpleNamespace(config={"number": 0}))
    run = runs._runs[0]
    run.finish.assert_not_called()  # type: ignore[attr-defined]
    study.finish(0, "PRUNED", "it waited to the end")
    runs.close("FINISHED")
    run.tag.assert_called_once_with({"themo.reason": "it waited to the end"})  # type: ignore[attr-defined]
    run.finish.assert_called_once_with("KILLED")  # type: ignore[attr-defined]


def test_trials_that_ended_before_are_settled_once() -> None:
    ended = [Trial(n, {}, "COMPLETE", values={1: 0.5}, metrics={"pairs_seen": 1.0}) for n in range(3)]
    tracking = MagicMock()
    runs = MlflowRuns(tracking, Study(None, "max", ended), "mine", "uid", {}, [], "o")
    runs.close("FINISHED")
    assert tracking.settle.call_count == 3


def test_an_ended_trial_is_tagged_with_reason_and_lineage() -> None:
    ended = Trial(0, {}, "PRUNED", values={1: 0.5}, metrics={"pairs_seen": 1.0}, reason="it was behind")
    ended.why = "0.5000 at the rung of 1 pairs, rank 2 of 2"
    ended.lineage.append(Takeover(pairs=700, value=0.5, params={}, donor=3))
    tracking = MagicMock()
    MlflowRuns(tracking, Study(None, "max", [ended]), "mine", "uid", {}, [], "o")
    assert tracking.settle.call_args.kwargs["tags"] == {
        "themo.search": "uid",
        "themo.trial": "0",
        "themo.reason": "it was behind",
        "themo.why": "0.5000 at the rung of 1 pairs, rank 2 of 2",
        "themo.lineage": "as trial 3 from 700 pairs",
    }


def test_the_run_gets_its_last_best_despite_a_missed_end() -> None:
    """A kill after the record was written, or that the trial was stopped and no worker had it."""
    study = Study(None, "max")
    for value in (0.4, 0.9):
        study.report(study.add({}).number, {"pairs_seen": 1, "o": value}, "o")
    study.finish(0, "COMPLETE")
    study.finish(1, "PAUSED")
    runs = MlflowRuns(MagicMock(), study, "mine", "uid", {}, [], "o")
    study.finish(1, "PRUNED", "it waited to the end")
    runs.close("FINISHED")
    last_best, _view, end = runs.parent.method_calls[-3:]
    assert last_best == call.report({"best/o": 0.9, "trials": 2}, step=2)
    assert end == call.finish("FINISHED")


def test_the_view_has_no_axis_that_some_trials_lack(tmp_path: Path) -> None:
    search = a_search(tmp_path, "mine", Resources())
    conditions = {"weight_decay": {"batch_size": Choice([32])}}
    search = replace(search, space=replace(search.space, conditions=conditions))
    view = runs_of(search, Study(None, "max"), MagicMock()).parent.view.call_args.args[0]  # type: ignore[attr-defined]
    (chart,) = view["compareRunCharts"]
    assert chart["selectedParams"] == ["log10_learn_rate", "batch_size", "warmup_steps"]


def test_axes_are_the_settings_in_which_trials_differ() -> None:
    searched = ["learn_rate", "pooling", "temperature", "loss"]
    same = {"loss": "mse", "pooling": "mean"}
    trials = [{"learn_rate": 0.1, **same}, {"learn_rate": 0.2, "temperature": 0.1, **same}]
    assert axes_of(trials, searched) == ["log10_learn_rate"]  # a trial without temperature would be missing
    assert axes_of(trials[1:], searched) == ["log10_learn_rate", "pooling", "temperature", "loss"]
    assert axes_of([], searched) == ["log10_learn_rate", "pooling", "temperature", "loss"]
