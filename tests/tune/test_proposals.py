from __future__ import annotations

import math

import pytest
from optuna.trial import TrialState

from tune.proposals import propose, to_optuna
from tune.space import Space, from_tree
from tune.study import Study

TREE = {
    "space": {
        "learn_rate": {"log_uniform": [1e-5, 1e-2]},
        "batch_size": {"integer": [32, 256], "step": 16},
        "loss": {"choice": ["mse", "cosine", "infonce"]},
    },
    "first": [{"learn_rate": 1e-3, "loss": "cosine", "batch_size": 64}, {"learn_rate": 2e-3}],
    "search": {"seed": 3, "startup_trials": 4},
}


@pytest.fixture
def space(settings) -> Space:
    return from_tree(TREE, settings, source="search.yaml")


def play(space: Space, study: Study, n_trials: int) -> None:
    """Trials whose result is best near a learning rate of 1e-3."""
    while len(study) < n_trials:
        trial = study.add(propose(space, study))
        distance = abs(math.log10(float(trial.params["learn_rate"])) + 3)  # type: ignore[arg-type]
        for i in (1, 2, 3):
            study.report(trial.number, {"pairs_seen": 100 * i, "o": i - distance}, "o")
        study.finish(trial.number, ("COMPLETE", "PRUNED", "COMPLETE", "FAIL")[trial.number % 4])


def test_trusted_settings_come_first(space):
    study = Study(None, "max")
    play(space, study, 2)
    assert study[0].params == {"learn_rate": 1e-3, "batch_size": 64, "loss": "cosine"}
    assert study[1].params == {"learn_rate": 2e-3, "batch_size": 64, "loss": "mse"}


def test_a_reloaded_record_gets_the_same_proposals(space, tmp_path):
    whole = Study(tmp_path / "whole.json", "max")
    play(space, whole, 14)
    cut = Study(tmp_path / "cut.json", "max")
    for n in range(1, 15):
        play(space, cut, n)
        cut = Study.load(tmp_path / "cut.json")
    assert [trial.params for trial in cut] == [trial.params for trial in whole]


def test_another_seed_proposes_something_else(space, settings):
    other = from_tree(TREE | {"search": {"seed": 4}}, settings, source="search.yaml")
    studies = [Study(None, "max"), Study(None, "max")]
    for study, searched in zip(studies, (space, other), strict=True):
        play(searched, study, 3)
    assert studies[0][2].params != studies[1][2].params


def test_it_learns(space):
    study = Study(None, "max")
    play(space, study, 40)
    late = [abs(math.log10(float(trial.params["learn_rate"])) + 3) for trial in study.trials[20:]]  # type: ignore[arg-type]
    assert sorted(late)[len(late) // 2] < 0.5  # a random half of the trials would lie above 0.75


def test_optuna_sees_states_and_intermediate_values(space):
    study = Study(None, "max")
    play(space, study, 4)
    study.add(propose(space, study))
    trials = to_optuna(space, study).trials
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    assert trials[1].intermediate_values == study[1].values
    assert trials[1].value is None or trials[1].state == TrialState.PRUNED
    assert trials[2].value == study[2].best("max")
    assert trials[3].value is None
    assert [trial.params for trial in trials] == [trial.params for trial in study]


def test_settings_that_are_no_longer_searched_are_left_out(space, settings):
    study = Study(None, "max")
    play(space, study, 4)
    tree = TREE | {"space": {"learn_rate": {"log_uniform": [1e-3, 1e-2]}}, "first": []}
    narrower = from_tree(tree, settings, source="search.yaml")
    assert to_optuna(narrower, study).trials[0].params == {"learn_rate": 1e-3}
    assert set(propose(narrower, study)) == {"learn_rate"}
