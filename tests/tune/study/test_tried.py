"""No settings are run twice: whatever the space, the searcher and the scheduler."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any, get_args

import numpy as np
import pytest
from formula_search import a_search
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from simulation import PAIRS, WHOLE, facts, play, play_with_kills

from themo.config.settings import Settings
from themo.errors import InputError
from tune.cluster.resources import Resources
from tune.searchers.by_name import propose
from tune.searchers.quasi_random import points
from tune.space.dimensions import Choice, FloatRange, IntRange
from tune.space.search_settings import SchedulerName, SearcherName, SearchSettings
from tune.space.search_space import Space, from_tree
from tune.study.growth import grow
from tune.study.limits import used_up, wants_more
from tune.study.naming import STUDY_FILE
from tune.study.search import read_search
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.study.tried import draw_untried, is_tried, key_of, most_trials

SEARCHERS = get_args(SearcherName)
CHOICES = ["mse", "cosine", True, 1, 1.0, None]
"""Some are equal, and yet other settings."""

finite = st.builds(
    lambda n_choices, high, step, low: {
        "loss": Choice(CHOICES[:n_choices]),
        "batch_size": IntRange(1, 1 + step * high, step=step),
        "hidden_layers": IntRange(low, low + 1, log=True),
    },
    st.integers(1, 6),
    st.integers(0, 3),
    st.integers(1, 5),
    st.integers(1, 3),
)


def run(space: Space, study: Study) -> list[dict[str, Any]]:
    """Trials until the search wants no more; the settings of those that it proposed."""
    while wants_more(study, space):
        trial = study.add(propose(space, study))
        study.report(trial.number, {"pairs_seen": 100, "o": float(len(study) % 3)}, "o")
        study.finish(trial.number, ("COMPLETE", "PRUNED", "FAIL")[trial.number % 3])
    return [dict(trial.params) for trial in study]


@pytest.mark.slow
@pytest.mark.parametrize("searcher", ["random", "quasi-random", "tpe", "cmaes"])
@examples(max_examples=12, deadline=None)
@given(dimensions=finite, n_samples=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_finite_space_is_tried_once_and_no_further(searcher, dimensions, n_samples, seed):
    search = SearchSettings(searcher=searcher, num_samples=n_samples, seed=seed, startup_trials=3)
    space = Space(dimensions, (), search)
    study = Study(None, "max")
    params = run(space, study)
    keys = {key_of(space, each) for each in params}
    assert len(keys) == len(params) == min(n_samples, space.n_points)
    assert bool(used_up(study, space)) == (n_samples > space.n_points)
    again = Study(None, "max")
    assert run(space, again) == params


def test_the_gaussian_process_tries_two_choices_in_two_trials():
    space = Space({"loss": Choice(["mse", "cosine"])}, (), SearchSettings(searcher="gp"))
    study = Study(None, "max")
    assert sorted(str(params["loss"]) for params in run(space, study)) == ["cosine", "mse"]
    assert used_up(study, space) == (
        "All 2 settings of the space have been tried: the search ends after 2 of 32 trials"
    )


@pytest.mark.parametrize("scheduler", [name for name in get_args(SchedulerName) if name != "pbt"])
@examples(max_examples=6, deadline=None)
@given(slots=st.integers(1, 4), choices=st.lists(st.integers(0, 3), max_size=20))
def test_a_search_of_a_finite_space_ends_by_each_rule(scheduler, slots, choices):
    search = SearchSettings(scheduler=scheduler, searcher="random", num_samples=30, grace_share=PAIRS / WHOLE)
    space = Space({"loss": Choice(["mse", "cosine"])}, (), search).for_trials(WHOLE)
    study = play(space, Study(None, "max"), lambda t, step: t.number + step, slots=slots, choices=choices)
    assert len(study) == 2
    assert all(trial.is_done for trial in study)
    assert study[1].state == "COMPLETE"  # the best one is a whole one, as where trials come to an end


@pytest.mark.parametrize("scheduler", ["asha", "pausing-asha"])
@pytest.mark.parametrize("searcher", ["random", "quasi-random", "tpe"])
@examples(max_examples=8, deadline=None)
@given(kills=st.lists(st.integers(0, 30), max_size=4))
def test_a_killed_search_of_a_finite_space_ends_undisturbed(searcher, scheduler, kills, tmp_path_factory):
    dimensions = {"loss": Choice(["mse", "cosine"]), "batch_size": IntRange(1, 3)}
    rules = {"scheduler": scheduler, "searcher": searcher, "startup_trials": 2, "grace_pairs": 100}
    space = Space(dimensions, (), SearchSettings(num_samples=20, **rules))
    path = tmp_path_factory.mktemp("killed") / "study.json"

    def score(trial: Trial, step: int) -> float:
        return step * int(trial.params["batch_size"]) % 5  # type: ignore[arg-type]

    whole = play(space, Study(None, "max"), score)
    assert facts(play_with_kills(space, path, score, kills)) == facts(whole)
    assert len(whole) == 6


@pytest.mark.parametrize("searcher", ["random", "quasi-random", "tpe", "cmaes"])
@examples(max_examples=10, deadline=None)
@given(dimensions=finite, seed=st.integers(0, 9), n_known=st.integers(0, 30))
def test_settings_tried_by_another_search_are_not_proposed(searcher, dimensions, seed, n_known):
    search = SearchSettings(searcher=searcher, num_samples=n_known or 1, seed=seed, startup_trials=3)
    old = Study(None, "max")
    run(Space(dimensions, (), search), old)
    carried = [replace(trial, number=-1 - trial.number) for trial in old]
    space = Space(dimensions, (), search.model_copy(update={"num_samples": 99}))
    study = Study(None, "max", carried=carried)
    keys = [key_of(space, each) for each in [*run(space, study), *(trial.params for trial in old)]]
    assert len(set(keys)) == len(keys) == space.n_points


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_warm_start_with_the_same_seed_draws_other_points(searcher):
    dimensions = {"learn_rate": FloatRange(1e-5, 1e-2, log=True), "batch_size": IntRange(1, 9)}
    space = Space(dimensions, (), SearchSettings(searcher=searcher, num_samples=5, startup_trials=8))
    old = Study(None, "max")
    known = run(space, old)
    carried = [replace(trial, number=-1 - trial.number) for trial in old]
    assert not [params for params in run(space, Study(None, "max", carried=carried)) if params in known]


@pytest.mark.parametrize("searcher", ["random", "quasi-random", "tpe"])
def test_trusted_settings_run_despite_another_searchs_trials(settings: Settings, searcher: str) -> None:
    tree = {
        "space": {"loss": {"choice": ["mse", "cosine"]}, "pooling": {"choice": ["mean", "first"]}},
        "first": [{"loss": "mse", "pooling": "mean"}, {"pooling": "mean", "loss": "mse"}],
        "search": {"searcher": searcher},
    }
    space = from_tree(tree, settings, source="search.yaml")
    assert space.first == ({"loss": "mse", "pooling": "mean"},)  # twice the same is one trial
    carried = [Trial(-1, dict(space.first[0]), "COMPLETE", values={1: 0.5})]
    study = Study(None, "max", carried=carried)
    assert most_trials(study, space) == 4
    params = run(space, study)
    assert params[0] == space.first[0]
    assert len({key_of(space, each) for each in params}) == len(params) == 4


@given(dimensions=finite, n_known=st.integers(0, 40), seed=st.integers(0, 99), data=st.data())
def test_a_draw_finds_the_untried_settings(dimensions, n_known, seed, data):
    space = Space(dimensions, (), SearchSettings(searcher="random", num_samples=99))
    study = Study(None, "max")
    while len(study) < min(n_known, space.n_points):
        study.add(propose(space, study))
    fixed = {}
    if data.draw(st.booleans()):
        fixed = {"loss": data.draw(st.sampled_from(dimensions["loss"].choices))}
    drawn = draw_untried(space, study, fixed, np.random.default_rng(seed), near=fixed)
    same = {
        key_of(space, t.params) for t in study if key_of(space, t.params | fixed) == key_of(space, t.params)
    }
    n_left = space.n_points // (len(dimensions["loss"].choices) if fixed else 1) - len(same)
    assert (drawn is None) == (n_left == 0)
    if drawn is not None:
        assert not is_tried(space, study, drawn)
        assert drawn | fixed == drawn


def test_a_point_at_the_end_of_a_range_is_not_proposed_twice() -> None:
    """Real numbers repeat where a searcher is cut off at an end."""
    space = Space({"learn_rate": FloatRange(0.0, 1.0)}, (), SearchSettings(searcher="cmaes", seed=1))
    study = Study(None, "max")
    while len(study) < 60:
        trial = study.add(propose(space, study))
        study.report(trial.number, {"pairs_seen": 1, "o": float(trial.params["learn_rate"])}, "o")  # type: ignore[arg-type]
        study.finish(trial.number, "COMPLETE")
    assert len({trial.params["learn_rate"] for trial in study}) == 60


@given(n_first=st.integers(0, 5), seed=st.integers(0, 40))
def test_trusted_trials_use_up_no_point_of_the_sequence(n_first, seed):
    dimensions = {"learn_rate": FloatRange(1e-5, 1e-2, log=True), "batch_size": IntRange(1, 15)}
    first = tuple({"learn_rate": 1e-3, "batch_size": 1 + i} for i in range(n_first))
    space = Space(dimensions, first, SearchSettings(searcher="quasi-random", seed=seed))
    study = Study(None, "max")
    for _ in range(n_first + 32):
        study.add(propose(space, study))
    drawn = [trial.params for trial in study][n_first:]
    assert drawn == list(islice(points(replace(space, first=()), 0), 32))
    assert len({params["batch_size"] for params in drawn}) == 15


def test_a_search_that_has_tried_all_is_not_enlarged(tmp_path):
    search = a_search(tmp_path, "mine", Resources(), num_samples=6)
    space = Space({"loss": Choice(["mse", "cosine"])}, (), search.space.search)
    study = Study(search.folder / STUDY_FILE, "max")
    run(space, study)
    with pytest.raises(InputError) as caught:
        grow(replace(search, space=space), 40)
    assert str(caught.value) == (
        "--num-samples: must be at most 2, all 2 settings of the space of mine have been tried, got 40: "
        "start a new search with a larger space and --warm-start mine"
    )
    assert read_search(search.folder) == search
