"""Proposals by two objectives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from themo.config.settings import Settings
from tune.searchers import by_name
from tune.searchers.by_name import propose
from tune.searchers.history import to_optuna
from tune.space.search_settings import FOR_TWO_OBJECTIVES
from tune.space.search_space import Space, from_tree
from tune.study.study import Study

TREE: dict[str, Any] = {
    "space": {
        "hidden_size": {"log_integer": [16, 512]},
        "learn_rate": {"log_uniform": [1e-5, 1e-2]},
        "pooling": {"choice": ["mean", "first"]},
        "temperature": {"log_uniform": [0.02, 0.2], "when": {"pooling": "mean"}},
    },
}


def a_space(settings: Settings, searcher: str, **search: object) -> Space:
    learns = {"startup_trials": 4} if searcher in ("tpe", "gp") else {}
    tree = TREE | {"search": {"searcher": searcher, "second_objective": "mb", **learns, **search}}
    return from_tree(tree, settings.override({"backbone_weights": False}), source="search.yaml")


def play(space: Space, study: Study, n_trials: int) -> Study:
    """Trials whose best objective grows with the width, at a learning rate of 1e-3."""
    while len(study) < n_trials:
        trial = study.add(propose(space, study))
        width, rate = trial.params["hidden_size"], trial.params["learn_rate"]
        assert isinstance(width, int)
        assert isinstance(rate, float)
        value = 1 - 4 / width - abs(math.log10(rate) + 3) / 3
        for step in (1, 2):
            metrics = {"pairs_seen": 100.0 * step, "o": value * step / 2, "cost/mb": width**2 / 1e4}
            study.report(trial.number, metrics, "o")
        study.finish(trial.number, ("COMPLETE", "PRUNED", "PAUSED", "FAIL")[trial.number % 4])
    return study


GP = pytest.param("gp", marks=pytest.mark.slow)
"""A proposal of the Gaussian process takes seconds."""


@pytest.mark.slow
def test_a_failed_first_trial_beside_carried_ones(settings: Settings) -> None:
    space = a_space(settings, "gp")
    old = play(space, Study(None, "max"), 6)
    carried = [replace(trial, number=-1 - trial.number) for trial in old if trial.state == "COMPLETE"]
    study = Study(None, "max", carried=carried)
    study.finish(study.add(propose(space, study)).number, "FAIL", "diverged: loss is nan")
    assert propose(space, study).keys() >= {"hidden_size", "learn_rate"}


@pytest.mark.parametrize("searcher", [GP, *(n for n in FOR_TWO_OBJECTIVES["searcher"] if n != "gp")])
def test_proposals_are_a_function_of_the_record(settings: Settings, searcher: str) -> None:
    space = a_space(settings, searcher)
    n_trials = 7 if searcher == "gp" else 14
    whole = play(space, Study(None, "max"), n_trials)
    again = Study(None, "max", whole.trials[: n_trials - 1])
    assert propose(space, again) == whole[n_trials - 1].params


@pytest.mark.parametrize("searcher", ["tpe", GP])
def test_proposals_depend_on_the_cost(settings: Settings, searcher: str) -> None:
    n_trials = 5 if searcher == "gp" else 12
    two = a_space(settings, searcher)
    study = play(two, Study(None, "max"), n_trials)
    by_two = propose(two, study)
    assert by_two != propose(a_space(settings, searcher, second_objective=None), study)
    for trial in study:
        trial.metrics["cost/mb"] = 1 / trial.metrics["cost/mb"]
    assert by_two != propose(two, Study(None, "max", study.trials))


def test_tpe_is_multivariate_with_two_objectives(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's own is independent by default with two objectives, and multivariate with one."""
    tree = TREE | {"space": {name: rule for name, rule in TREE["space"].items() if name != "temperature"}}
    tree |= {"search": {"searcher": "tpe", "second_objective": "mb", "startup_trials": 4}}
    space = from_tree(tree, settings.override({"backbone_weights": False}), source="search.yaml")
    study = play(space, Study(None, "max"), 12)
    study.add(propose(space, study))  # a running trial
    ours = propose(space, study)
    monkeypatch.setattr(by_name, "_Tpe", TPESampler)
    assert propose(space, study) == ours
    monkeypatch.setattr(by_name, "_Tpe", lambda **options: TPESampler(**options | {"multivariate": False}))
    assert propose(space, study) != ours


def test_tpe_finds_narrow_students_of_quality(settings: Settings) -> None:
    space = a_space(settings, "tpe", startup_trials=8)
    study = play(space, Study(None, "max"), 60)
    narrow = [t for t in study if (t.cost or 0) < 1 and (t.best("max") or 0) > 0.7]
    drawn = play(a_space(settings, "random"), Study(None, "max"), 60)
    by_chance = [t for t in drawn if (t.cost or 0) < 1 and (t.best("max") or 0) > 0.7]
    assert len(narrow) > len(by_chance)


def test_optuna_gets_two_directions_and_complete_trials(settings: Settings) -> None:
    space = a_space(settings, "tpe")
    study = play(space, Study(None, "min"), 4)
    history = to_optuna(space, study, by_cost=True)
    assert history.directions == [StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]
    trials = history.trials
    assert [trial.state for trial in trials] == [*[TrialState.COMPLETE] * 3, TrialState.FAIL]
    assert trials[1].values == [study[1].best("min"), math.log(study[1].cost or 0)]
    one = to_optuna(space, study)
    assert one.directions == [StudyDirection.MINIMIZE]
    assert [trial.state for trial in one.trials][:2] == [TrialState.COMPLETE, TrialState.PRUNED]


def test_a_stopped_trial_without_a_report_is_passed_over(settings: Settings) -> None:
    space = a_space(settings, "tpe", startup_trials=0)
    study = play(space, Study(None, "max"), 4)
    study.add(dict(study[0].params))
    study[4].state = "PRUNED"
    assert to_optuna(space, study, by_cost=True).trials[4].state == TrialState.PRUNED
    assert propose(space, study)
