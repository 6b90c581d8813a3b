from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from tune.searchers import by_name as proposals
from tune.searchers.by_name import propose
from tune.searchers.history import to_optuna
from tune.space.cube import encode
from tune.space.dimensions import contains
from tune.space.search_settings import SearcherName
from tune.space.search_space import Space, from_tree
from tune.study.study import Study
from tune.study.trial_record import Trial

SEARCHERS = get_args(SearcherName)
N_TRIALS = dict.fromkeys(SEARCHERS, 14) | {"gp": 7}
"""A proposal of the Gaussian process takes a second or two."""

TREE = {
    "space": {
        "learn_rate": {"log_uniform": [1e-5, 1e-2]},
        "batch_size": {"integer": [32, 256], "step": 16},
        "loss": {"choice": ["mse", "cosine", "infonce"]},
    },
    "first": [{"learn_rate": 1e-3, "loss": "cosine", "batch_size": 64}, {"learn_rate": 2e-3}],
    "search": {"seed": 3, "startup_trials": 4},
}


def by(space: Space, searcher: str) -> Space:
    whole = {"grace_share": 0.1} if searcher == "forecast" else {}
    return space.searched_by(searcher=searcher, **whole).for_trials(300)


@pytest.fixture
def space(settings) -> Space:
    return from_tree(TREE, settings, source="search.yaml")


def play(space: Space, study: Study, n_trials: int) -> None:
    """Trials whose result is best near a learning rate of 1e-3."""
    while len(study) < n_trials:
        trial = study.add(propose(space, study))
        for i in (1, 2, 3):
            study.report(trial.number, {"pairs_seen": 100 * i, "o": i - distance(trial)}, "o")
        study.finish(trial.number, ("COMPLETE", "PRUNED", "COMPLETE", "FAIL")[trial.number % 4])


def distance(trial: Trial) -> float:
    return abs(math.log10(float(trial.params["learn_rate"])) + 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_trusted_settings_come_first(space, searcher):
    study = Study(None, "max")
    play(by(space, searcher), study, 2)
    assert study[0].params == {"learn_rate": 1e-3, "batch_size": 64, "loss": "cosine"}
    assert study[1].params == {"learn_rate": 2e-3, "batch_size": 64, "loss": "mse"}


def test_trusted_settings_come_before_any_forecast(space):
    """Also with no random trials, once two trials allow a forecast."""
    first = tuple({"learn_rate": rate, "batch_size": 64, "loss": "mse"} for rate in (1e-3, 2e-3, 3e-3))
    space = replace(by(space, "forecast").searched_by(startup_trials=0).for_trials(300), first=first)
    study = Study(None, "max")
    play(space, study, 3)
    assert [trial.params for trial in study] == list(first)


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_every_value_is_one_of_the_space(space, searcher):
    study = Study(None, "max")
    play(by(space, searcher), study, N_TRIALS[searcher])
    for trial in study:
        assert list(trial.params) == list(space.dimensions)
        assert all(contains(space.dimensions[name], value) for name, value in trial.params.items())


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_reloaded_record_gets_the_same_proposals(space, searcher, tmp_path):
    whole = Study(tmp_path / "whole.json", "max")
    play(by(space, searcher), whole, N_TRIALS[searcher])
    cut = Study(tmp_path / "cut.json", "max")
    for n in range(1, N_TRIALS[searcher] + 1):
        play(by(space, searcher), cut, n)
        cut = Study.reopen(tmp_path / "cut.json")
    assert [trial.params for trial in cut] == [trial.params for trial in whole]


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_running_and_paused_trials_count_in_proposals(space, searcher):
    study = Study(None, "max")
    play(by(space, searcher), study, 7)
    study[4].state, study[5].state = "PAUSED", "RUNNING"
    nothing_yet = study.add(propose(by(space, searcher), study))
    again = propose(by(space, searcher), study)
    assert again != nothing_yet.params
    assert again == propose(by(space, searcher), study)


@pytest.mark.parametrize("carried", [(), ("learn_rate",), ("learn_rate", "batch_size", "loss")])
def test_tpe_proposes_as_optunas_own(space, carried, monkeypatch):
    """Also beside trials of another search that had some of the settings only, or all."""
    old = Study(None, "max")
    play(space, old, 9)
    for trial in old:
        trial.params = {name: value for name, value in trial.params.items() if name in carried}
    study = Study(None, "max", carried=old.trials if carried else ())
    for n in range(1, 13):
        ours = propose(space, study)
        with monkeypatch.context() as patch:
            patch.setattr(proposals, "_Tpe", TPESampler)
            assert propose(space, study) == ours
        play(space, study, n)


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_another_seed_proposes_something_else(space, searcher):
    """Beside the same trials: among the first random ones, and where the searcher has learnt."""
    study = Study(None, "max")
    ours, others = (by(space.searched_by(seed=seed), searcher) for seed in (3, 4))
    for n_trials in (2, 4):
        play(ours, study, n_trials)
        assert propose(ours, study) != propose(others, study)


@pytest.mark.parametrize("searcher", ["tpe", "cmaes", "forecast"])
def test_a_searcher_beats_random_draws(space, searcher):
    study = Study(None, "max")
    play(by(space, searcher), study, 40)
    late = sorted(distance(trial) for trial in study.trials[20:])
    assert late[len(late) // 2] < 0.5  # a random half of the trials would lie above 0.75


@pytest.mark.parametrize(
    ("searcher", "n_trials"),
    [("tpe", 40), ("cmaes", 40), ("forecast", 20), pytest.param("gp", 20, marks=pytest.mark.slow)],
)
def test_a_small_objective_is_searched_for_too(space, searcher, n_trials):
    study = Study(None, "min")
    while len(study) < n_trials:
        trial = study.add(propose(by(space, searcher), study))
        study.report(trial.number, {"pairs_seen": 100, "o": distance(trial)}, "o")
        study.finish(trial.number, "COMPLETE")
    late = sorted(distance(trial) for trial in study.trials[n_trials // 2 :])
    assert late[len(late) // 2] < 0.5


@pytest.mark.parametrize(
    ("searcher", "n_trials"),
    [("cmaes", 40), ("forecast", 20), pytest.param("gp", 20, marks=pytest.mark.slow)],
)
def test_where_trials_fail_is_avoided(space, searcher, n_trials):
    """Half of the space diverges: searchers that know no failed trials must not stay there."""
    study = Study(None, "max")
    ranges = replace(by(space, searcher), first=())
    while len(study) < n_trials:
        trial = study.add(propose(ranges, study))
        if float(trial.params["learn_rate"]) > 3e-4:  # type: ignore[arg-type]
            study.finish(trial.number, "FAIL")
        else:
            study.report(trial.number, {"pairs_seen": 100, "o": 0.5 + trial.number % 3 / 10}, "o")
            study.finish(trial.number, "COMPLETE")
    late = study.trials[n_trials // 2 :]
    assert sum(trial.state == "FAIL" for trial in late) < len(late) / 3


def test_quasi_random_points_leave_nothing_out(space):
    """16 points of a Sobol sequence have one in each sixteenth of a range."""
    study = Study(None, "max")
    for _ in range(16):
        study.add(propose(replace(by(space, "quasi-random"), first=()), study))
    places = [encode(space.dimensions["learn_rate"], trial.params["learn_rate"]) for trial in study]
    assert sorted(int(place * 16) for place in places) == list(range(16))
    counts = Counter(trial.params["loss"] for trial in study)
    assert len(counts) == 3
    assert min(counts.values()) >= 4


def test_cmaes_starts_at_the_best_and_follows_generations(space):
    ranges = by(replace(space, first=()), "cmaes")
    study = Study(None, "max")
    play(ranges, study, 4)
    best = min(study.trials[:3], key=distance)  # the fourth fails
    later = [study.add(propose(ranges, study)) for _ in range(20)]
    spread = [
        encode(space.dimensions["learn_rate"], trial.params["learn_rate"])
        - encode(space.dimensions["learn_rate"], best.params["learn_rate"])
        for trial in later
    ]
    assert abs(sum(spread) / len(spread)) < 0.15
    assert max(spread) - min(spread) > 0.2


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_trials_outside_the_space_do_no_harm(space, searcher):
    study = Study(None, "max")
    for learn_rate in (0.5, 1e-9, 1e-3, 1e-4):
        number = study.add({"learn_rate": learn_rate, "batch_size": 3, "colour": "red"}).number
        study.report(number, {"pairs_seen": 100, "o": learn_rate}, "o")
        study.finish(number, "COMPLETE")
    params = propose(replace(by(space, searcher), first=()), study)
    assert all(contains(space.dimensions[name], value) for name, value in params.items())


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


@pytest.mark.parametrize("searcher", ["tpe", "gp", "cmaes"])
def test_trials_carried_over_are_learnt_from(space, searcher):
    """Trials of an earlier search that did well in one corner draw the first proposals there."""
    space = replace(by(space, searcher), first=())
    good = {"learn_rate": 9e-3, "batch_size": 256, "loss": "mse"}
    poor = {"learn_rate": 2e-5, "batch_size": 32, "loss": "mse"}
    carried = []
    for i in range(24):
        params = dict(good if i % 2 else poor) | {"learn_rate": (9e-3 if i % 2 else 2e-5) * (1 + i / 100)}
        value = 0.9 if i % 2 else 0.1
        carried.append(Trial(-1 - i, params, "COMPLETE", values={100: value}, metrics={"pairs_seen": 100.0}))
    n_startup = space.search.startup_trials if searcher == "cmaes" else 0
    study = Study(None, "max", [Trial(i, dict(poor), "FAIL") for i in range(n_startup)], carried)
    assert propose(space, study)["learn_rate"] > 1e-3
    assert propose(space, study) == propose(space, study)
    space_alone = propose(space, Study(None, "max", study.trials))
    assert space_alone != propose(space, study)


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_warm_start_draws_other_points_with_one_seed(space, searcher):
    """A failed trial does not carry over; the same seed would else draw it again."""
    space = replace(by(space, searcher), first=())
    old = Study(None, "max")
    play(space, old, 4)
    carried = [replace(trial, number=-1) for trial in old.trials[:1]]  # fewer than startup_trials
    new = Study(None, "max", carried=carried)
    play(space, new, 4)
    rates = {trial.params["learn_rate"] for trial in old}
    assert not rates & {trial.params["learn_rate"] for trial in new}
    again = Study(None, "max", carried=carried)
    play(space, again, 4)
    assert [trial.params for trial in again] == [trial.params for trial in new]


@pytest.mark.parametrize("searcher", [name for name in SEARCHERS if name != "gp"])
def test_another_salt_alone_proposes_something_else(space, searcher):
    """Beside the same trials; `gp` takes its seed as `tpe` does."""
    space = replace(by(space, searcher), first=())
    study = Study(None, "max")
    play(space, study, 4)
    past = {"learn_rate": 5e-4, "batch_size": 96, "loss": "infonce"}
    salted = Study(None, "max", study.trials, proposals=[past])  # trial 0 had its turn
    assert propose(space, salted) != propose(space, study)


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_proposals_of_a_warm_start_follow_trusted_ones(space, searcher):
    proposals = [
        {"learn_rate": 5e-4, "batch_size": 96, "loss": "infonce"},
        dict(space.first[0]),  # tried by then
        {"learn_rate": 6e-4, "batch_size": 128, "loss": "mse"},
    ]
    study = Study(None, "max", proposals=proposals)
    play(by(space, searcher), study, 6)
    assert (study[2].params, study[4].params) == (proposals[0], proposals[2])
    assert study[3].params not in proposals
    assert len({tuple(trial.params.values()) for trial in study}) == 6
