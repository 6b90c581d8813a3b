from __future__ import annotations

import random
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from themo.config.settings import Settings
from tune.searchers.distributions import distributions_of
from tune.searchers.history import to_optuna
from tune.space.search_space import Space, from_tree
from tune.study.study import Study

TREE: dict[str, Any] = {
    "space": {
        "learn_rate": {"log_uniform": [1e-5, 1e-2]},
        "batch_size": {"integer": [32, 256], "step": 16},
        "loss": {"choice": ["mse", "cosine"]},
    },
}


def a_space(settings: Settings) -> Space:
    return from_tree(TREE, settings, source="search.yaml")


def a_record(space: Space, n: int, seed: int, *, is_last_running: bool = False) -> Study:
    """Random trials, ended in all the ways there are."""
    study, chance = Study(None, "max"), random.Random(seed)
    drawn = optuna.create_study(sampler=RandomSampler(seed=seed))
    for i in range(n):
        asked = drawn.ask(distributions_of(space.dimensions))
        number = study.add({name: asked.params[name] for name in space.dimensions}).number
        for step in range(chance.randint(0, 3)):
            study.report(number, {"pairs_seen": 100 * (step + 1), "o": chance.random()}, "o")
        if not (is_last_running and i == n - 1):
            study.finish(number, chance.choice(["COMPLETE", "PRUNED", "FAIL"]))
    return study


def copied(space: Space, study: Study, sampler: optuna.samplers.BaseSampler) -> optuna.study.Study:
    """The record in Optuna's own storage."""
    states = {state.name: state for state in TrialState}
    history = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in study:
        history.add_trial(
            create_trial(
                state=states[trial.state],
                params=dict(trial.params),
                distributions=distributions_of(space.dimensions),
                intermediate_values=dict(trial.values),
                value=trial.best("max") if trial.state == "COMPLETE" else None,
            )
        )
    return history


@given(n=st.integers(0, 30), seed=st.integers(0, 99), is_last_running=st.booleans())
def test_samplers_propose_as_from_optunas_own_storage(settings, n, seed, is_last_running):
    space = a_space(settings)
    study = a_record(space, n, seed, is_last_running=is_last_running)
    for make in (
        lambda: TPESampler(seed=seed, n_startup_trials=4, multivariate=True, constant_liar=True),
        lambda: TPESampler(seed=seed, n_startup_trials=4),
        lambda: RandomSampler(seed=seed),
    ):
        ours = to_optuna(space, study, make()).ask(distributions_of(space.dimensions))
        theirs = copied(space, study, make()).ask(distributions_of(space.dimensions))
        assert (ours.number, ours.params) == (theirs.number, theirs.params)


def test_trusted_settings_are_taken_from_the_queue(settings):
    space = a_space(settings)
    history = to_optuna(space, a_record(space, 5, 0), RandomSampler(seed=0))
    history.enqueue_trial({"learn_rate": 1e-3})
    trial = history.ask(distributions_of(space.dimensions))
    assert (trial.number, trial.params["learn_rate"]) == (5, 1e-3)
    assert set(trial.params) == set(space.dimensions)


def test_an_ended_trial_is_read_once_and_one_under_way_each_time(settings):
    space = a_space(settings)
    study = a_record(space, 3, 0, is_last_running=True)
    first, second = to_optuna(space, study), to_optuna(space, study)
    frozen = list(zip(first.get_trials(deepcopy=False), second.get_trials(deepcopy=False), strict=True))
    assert [a is b for a, b in frozen] == [True, True, False]
    study.report(2, {"pairs_seen": 900, "o": 0.9}, "o")
    study.finish(2, "COMPLETE")
    assert to_optuna(space, study).trials[2].value == pytest.approx(study[2].best("max"))
    narrower = a_space(settings)
    assert to_optuna(narrower, study).trials[0] is not first.trials[0]


def test_a_stopped_trial_that_resumed_is_read_again(settings):
    space, study = a_space(settings), Study(None, "max")
    number = study.add({"learn_rate": 1e-3, "batch_size": 32, "loss": "mse"}).number
    study.report(number, {"pairs_seen": 100, "o": 0.1}, "o")
    study.finish(number, "PRUNED")
    assert to_optuna(space, study).trials[number].state == TrialState.PRUNED
    study.resume(number)
    assert to_optuna(space, study).trials[number].state == TrialState.RUNNING
    study.report(number, {"pairs_seen": 200, "o": 0.2}, "o")
    study.finish(number, "PRUNED")
    assert to_optuna(space, study).trials[number].intermediate_values == {100: 0.1, 200: 0.2}


def test_the_past_cannot_be_changed(settings):
    space = a_space(settings)
    history = to_optuna(space, a_record(space, 3, 0))
    with pytest.raises(RuntimeError, match="trial 1 is a past trial and read only"):
        history._storage.set_trial_state_values(1, TrialState.COMPLETE, [1.0])
    with pytest.raises(NotImplementedError, match="a record is read"):
        history._storage.delete_study(0)


def test_importances_are_computed(settings):
    space = a_space(settings)
    study = Study(None, "max")
    for seed in range(8):
        asked = optuna.create_study(sampler=RandomSampler(seed=seed)).ask(distributions_of(space.dimensions))
        number = study.add(asked.params).number
        study.report(number, {"pairs_seen": 1, "o": asked.params["learn_rate"]}, "o")
        study.finish(number, "COMPLETE")
    told = optuna.importance.get_param_importances(to_optuna(space, study))
    assert set(told) == set(space.dimensions)
