from __future__ import annotations

from typing import get_args

import pytest

from tune.space.dimensions import FloatRange
from tune.space.search_settings import SchedulerName, SearcherName, SearchSettings, contradictions


@pytest.mark.parametrize(
    ("searcher", "scheduler", "unused"),
    [
        ("tpe", "hyperband", {}),
        ("tpe", "asha", {"brackets": "scheduler"}),
        ("random", "pausing-asha", {"startup_trials": "searcher", "brackets": "scheduler"}),
        ("cmaes", "none", {"reduction_factor": "scheduler", "brackets": "scheduler"}),
    ],
)
def test_settings_of_other_searchers_and_schedulers_have_no_use(searcher, scheduler, unused):
    assert SearchSettings(searcher=searcher, scheduler=scheduler).unused() == unused


def test_a_population_is_drawn_at_random_by_default():
    assert SearchSettings(scheduler="pbt").searcher == "random"
    assert SearchSettings(scheduler="pbt", searcher="quasi-random").searcher == "quasi-random"
    assert SearchSettings().searcher == "tpe"


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
@pytest.mark.parametrize("searcher", get_args(SearcherName))
def test_all_but_a_population_goes_with_every_searcher(searcher, scheduler):
    search = SearchSettings(searcher=searcher, scheduler=scheduler, grace_share=0.1)
    problems = dict(contradictions(search, {"learn_rate": FloatRange(0.1, 1)}))
    is_refused = scheduler == "pbt" and searcher not in ("random", "quasi-random")
    assert set(problems) == ({"searcher"} if is_refused else set())


@pytest.mark.parametrize(
    ("searcher", "scheduler", "refused"),
    [
        ("forecast", "asha", {"searcher"}),
        ("tpe", "freeze-thaw", {"scheduler"}),
        ("forecast", "freeze-thaw", {"searcher", "scheduler"}),
    ],
)
def test_forecasts_need_the_share_of_a_whole_trial(searcher, scheduler, refused):
    search = SearchSettings(searcher=searcher, scheduler=scheduler, grace_pairs=100)
    problems = dict(contradictions(search, {"learn_rate": FloatRange(0.1, 1)}))
    assert set(problems) == refused
    assert all("needs grace_share" in problem for problem in problems.values())
    with pytest.raises(ValueError, match="does not determine the pairs of a full trial"):
        _ = search.whole_pairs


@pytest.mark.parametrize(("whole", "refused"), [(59.0, True), (60.0, True), (61.0, False)])
def test_a_trial_in_seconds_is_longer_than_its_first_rung(whole, refused):
    search = SearchSettings(resource="seconds", trial_seconds=whole, grace_seconds=60.0)
    problems = dict(contradictions(search, {"learn_rate": FloatRange(0.1, 1)}))
    rule = {"trial_seconds": f"must be above grace_seconds 60, got {whole:g}"}
    assert problems == (rule if refused else {})
