"""Proposals for spaces with conditional settings, by every searcher."""

from __future__ import annotations

from typing import get_args

import pytest
from conditional_spaces import conditional
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tune.searchers.by_name import propose
from tune.space.dimensions import Choice, FloatRange, contains
from tune.space.search_settings import SearcherName, SearchSettings
from tune.space.search_space import Space
from tune.study.limits import wants_more
from tune.study.study import Study
from tune.study.tried import is_tried, key_of

SEARCHERS = get_args(SearcherName)
FAST = [searcher for searcher in SEARCHERS if searcher != "gp"]


def play(space: Space, study: Study, n_trials: int) -> None:
    """Trials with checked settings, until there are so many or the space is used up."""
    while len(study) < n_trials and wants_more(study, space):
        params = propose(space, study)
        assert list(params) == [name for name in space.dimensions if space.is_active(name, params)]
        assert all(contains(space.dimensions[name], value) for name, value in params.items())
        assert not is_tried(space, study, params)
        assert propose(space, study) == params
        number = study.add(params).number
        study.report(number, {"pairs_seen": 100, "o": float(number % 5) + len(params)}, "o")
        study.finish(number, ("COMPLETE", "PRUNED", "COMPLETE", "FAIL")[number % 4])


@pytest.mark.parametrize("searcher", FAST)
@examples(max_examples=15, deadline=None)
@given(space=conditional(startup_trials=3, num_samples=10), seed=st.integers(0, 99))
def test_proposals_have_exactly_the_active_settings(searcher: str, space: Space, seed: int) -> None:
    play(with_cmaes(space, searcher, seed), Study(None, "max"), 10)


@pytest.mark.slow
@pytest.mark.timeout(900)
@examples(max_examples=8, deadline=None)
@given(space=conditional(startup_trials=2, num_samples=5))
def test_the_gaussian_process_proposes_active_settings(space: Space) -> None:
    play(with_cmaes(space, "gp", 0), Study(None, "max"), 5)


@pytest.mark.parametrize("searcher", FAST)
@examples(max_examples=6, deadline=None)
@given(space=conditional(finite=True, startup_trials=2, num_samples=400))
def test_a_finite_conditional_space_is_tried_once(searcher: str, space: Space) -> None:
    study = Study(None, "max")
    space = with_cmaes(space, searcher, 0)
    play(space, study, 25)
    assert len(study) == min(25, space.n_points)
    assert len({key_of(space, trial.params) for trial in study}) == len(study)


def with_cmaes(space: Space, searcher: str, seed: int) -> Space:
    """The space by a searcher; CMA-ES, which needs a range, gets one."""
    dimensions = {**space.dimensions}
    if searcher == "cmaes" and all(isinstance(d, Choice) for d in dimensions.values()):
        dimensions["rate"] = FloatRange(0.0, 1.0)
    found = Space(dimensions, (), space.search, space.conditions)
    whole = {"grace_share": 0.1} if searcher == "forecast" else {}
    return found.searched_by(searcher=searcher, seed=seed, **whole).for_trials(1000)


def a_temperature(**search: object) -> Space:
    return Space(
        {"loss": Choice(["mse", "infonce"]), "temperature": FloatRange(0.01, 1.0, log=True)},
        (),
        SearchSettings.model_validate({"startup_trials": 6, "num_samples": 99, "grace_share": 0.1} | search),
        {"temperature": {"loss": Choice(["infonce"])}},
    ).for_trials(1000)


@pytest.mark.parametrize("searcher", FAST)
def test_an_exhausted_choice_is_not_proposed_again(searcher: str) -> None:
    """The loss mse has no other setting: after its only trial all others have a temperature."""
    study = Study(None, "max")
    play(a_temperature(searcher=searcher), study, 20)
    assert [trial.params["loss"] for trial in study].count("mse") <= 1


@pytest.mark.parametrize(("searcher", "n_trials"), [("tpe", 40), ("cmaes", 40), ("forecast", 40)])
def test_searchers_learn_a_conditional_setting(searcher: str, n_trials: int) -> None:
    """The objective is best at a temperature of 0.1, in the middle of the range."""
    space = Space(
        a_temperature().dimensions | {"learn_rate": FloatRange(0.0, 1.0)},
        (),
        SearchSettings(searcher=searcher, startup_trials=8, grace_share=0.1),
        a_temperature().conditions,
    ).for_trials(1000)
    study = Study(None, "min")
    while len(study) < n_trials:
        trial = study.add(propose(space, study))
        temperature = trial.params.get("temperature")
        value = 2.0 if temperature is None else abs(float(temperature) - 0.03)
        study.report(trial.number, {"pairs_seen": 100, "o": value}, "o")
        study.finish(trial.number, "COMPLETE")
    late = study.trials[n_trials // 2 :]
    near = [float(t.params["temperature"]) for t in late if "temperature" in t.params]  # type: ignore[arg-type]
    assert sum(0.015 < value < 0.06 for value in near) > len(near) / 2  # 30 % of the range
    if searcher == "tpe":
        assert len(near) > 0.7 * len(late)


@pytest.mark.parametrize("searcher", FAST)
def test_an_open_trusted_line_gets_its_active_settings(searcher: str) -> None:
    space = a_temperature(searcher=searcher)
    first = ({"loss": "infonce"}, {"loss": "mse"})
    study = Study(None, "max")
    space = Space(space.dimensions, first, space.search, space.conditions)
    play(space, study, 2)
    assert set(study[0].params) == {"loss", "temperature"}
    assert study[1].params == {"loss": "mse"}


@pytest.mark.parametrize("searcher", FAST)
def test_a_reloaded_record_gets_equal_proposals(searcher: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    space = a_temperature(searcher=searcher)
    whole, cut = Study(tmp_path / "whole.json", "max"), Study(tmp_path / "cut.json", "max")
    play(space, whole, 12)
    for n in range(1, 13):
        play(space, cut, n)
        cut = Study.reopen(tmp_path / "cut.json")
    assert [trial.params for trial in cut] == [trial.params for trial in whole]
