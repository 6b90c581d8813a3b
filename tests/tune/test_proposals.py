from __future__ import annotations

import math
from dataclasses import replace

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


def test_a_share_is_random(space, settings):
    """Proposals that do not depend on what the trials reported."""

    def params(share: float, sign: float) -> list[object]:
        searched = from_tree(
            TREE | {"search": {"startup_trials": 4, "random_share": share}}, settings, source="x"
        )
        study = Study(None, "max")
        while len(study) < 24:
            trial = study.add(propose(searched, study))
            value = sign * float(trial.params["learn_rate"])  # type: ignore[arg-type]
            study.report(trial.number, {"pairs_seen": 1, "o": value}, "o")
            study.finish(trial.number, "COMPLETE")
        return [trial.params for trial in study]

    equal = {
        share: sum(a == b for a, b in zip(params(share, 1.0), params(share, -1.0), strict=True))
        for share in (0.0, 0.5, 1.0)
    }
    assert equal[0.0] == 4
    assert 8 <= equal[0.5] <= 20
    assert equal[1.0] == 24


def test_an_early_trial_that_passed_unopposed_is_no_example(space):
    """TPE would take the one complete trial for the best, whatever its value."""
    never_random = replace(space, first=(), search=space.search.model_copy(update={"random_share": 0.0}))
    study = Study(None, "max")
    runs = [(1e-4, 0.01, (20_000, 60_000, 180_000))]
    stopped = ((8e-3, 0.5), (9e-3, 0.6), (1e-5, 0.1), (2e-5, 0.2))
    runs += [(rate, value, (20_000,)) for rate, value in stopped * 3]
    for rate, value, reports in runs:
        trial = study.add({"learn_rate": rate, "batch_size": 64, "loss": "mse"})
        for pairs in reports:
            study.report(trial.number, {"pairs_seen": pairs, "o": value}, "o")
        study.finish(trial.number, "COMPLETE" if len(reports) > 1 else "PRUNED")
    rates = [float(propose(never_random, _longer(study, n))["learn_rate"]) for n in range(30)]  # type: ignore[arg-type]
    assert sum(rate > 3e-3 for rate in rates) > 12


def _longer(study: Study, n: int) -> Study:
    """The study with `n` more trials that failed: another random state, the same knowledge."""
    longer = Study(None, study.mode, list(study.trials))
    for _ in range(n):
        failed = longer.add({"learn_rate": 1e-4, "batch_size": 64, "loss": "mse"})
        longer.finish(failed.number, "FAIL")
    return longer
