from __future__ import annotations

import math

import pytest

from themo.config.settings import Settings
from tune.results.report.facts import Lane, cost, importances, lanes, outcome, rungs, scored
from tune.searchers.history import to_optuna
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space, from_tree
from tune.study.study import Study
from tune.study.work_time import most_at_once

SEARCH = SearchSettings(num_samples=8, grace_pairs=100, reduction_factor=2)


@pytest.fixture
def space(settings: Settings) -> Space:
    tree = {"space": {"learn_rate": {"log_uniform": [1e-5, 1e-2]}, "loss": {"choice": ["mse", "cosine"]}}}
    return from_tree(tree, settings, source="search.yaml")


def study_of(*trials: tuple[list[float], str]) -> Study:
    """Trials by what they reported every 100 pairs, a tenth of an epoch each, and how they ended."""
    study = Study(None, "max")
    for values, state in trials:
        number = study.add({"learn_rate": 1e-3, "loss": "mse"}).number
        for i, value in enumerate(values, start=1):
            study.report(number, {"pairs_seen": 100.0 * i, "epoch": 0.1 * i, "o": value}, "o")
        study[number].seconds = 10.0 * len(values)
        if state != "RUNNING":
            study.finish(number, state)
    return study


def test_trials_stopped_at_each_rung() -> None:
    study = study_of(
        ([0.1, 0.2, 0.2, 0.9], "COMPLETE"),
        ([0.05], "PRUNED"),
        ([0.3, 0.1], "PRUNED"),
        ([0.4, 0.5, 0.6], "RUNNING"),
        ([0.6, math.nan], "FAIL"),
        ([0.2, 0.2], "PAUSED"),
    )
    found = rungs(study, SEARCH)
    assert [rung.at for rung in found] == [100, 200, 400]
    assert [rung.reached for rung in found] == [
        {0: 0.1, 1: 0.05, 2: 0.3, 3: 0.4, 4: 0.6, 5: 0.2},
        {0: 0.2, 2: 0.3, 3: 0.5, 5: 0.2},  # the best so far, not the last; NaN is no value
        {0: 0.9},
    ]
    assert [rung.stopped for rung in found] == [(1,), (2,), ()]
    assert [rung.waiting for rung in found] == [(), (5,), ()]
    assert [rung.promoted for rung in found] == [(0, 2, 3, 4, 5), (0, 3), (0,)]


def test_outcome_of_a_trial() -> None:
    study = study_of(
        ([0.9], "COMPLETE"), ([0.1], "PRUNED"), ([], "FAIL"), ([], "RUNNING"), ([0.2], "COMPLETE")
    )
    outcomes = [outcome(trial, study[0]) for trial in study]
    assert outcomes == ["winner", "stopped", "failed", "running", "complete"]


def test_stopping_saves_the_rest_of_stopped_trials(settings: Settings) -> None:
    # an epoch is 1,000 pairs, and the settings ask for one: the stopped ones had 900 and 800 pairs to go
    study = study_of(([0.5] * 10, "COMPLETE"), ([0.1], "PRUNED"), ([0.1, 0.2], "PRUNED"), ([0.1], "FAIL"))
    spent = cost(study, settings)
    assert (spent.pairs, spent.seconds) == (1400, 140)
    assert spent.saved_pairs == pytest.approx(900 + 800)
    assert spent.saved_seconds == pytest.approx(90 + 80)
    assert spent.saved_share == pytest.approx(1700 / 3100)


def test_a_searched_number_of_epochs_counts_for_each_trial(settings: Settings) -> None:
    study = study_of(([0.1], "PRUNED"))
    study[0].params["epochs"] = 3.0
    assert cost(study, settings).saved_pairs == pytest.approx(2900)


def test_nothing_is_saved_where_nothing_ran(settings: Settings) -> None:
    assert cost(Study(None, "max"), settings).saved_share == 0


def at_work(study: Study, *spans: tuple[float, float, str]) -> Study:
    for trial, (started, ended, machine) in zip(study, spans, strict=True):
        trial.enter_attempt(started, ended, machine)
    return study


def told(found: list[Lane]) -> list[tuple[str, list[int]]]:
    return [(lane.name, [trial.number for trial, _ in lane.turns]) for lane in found]


def test_lanes_hold_one_trial_at_a_time() -> None:
    study = at_work(study_of(*[([0.1], "COMPLETE")] * 4), (0, 10, ""), (1, 4, ""), (4, 9, ""), (10, 12, ""))
    assert told(lanes(study)) == [("slot 1", [0, 3]), ("slot 2", [1, 2])]


def test_lanes_of_several_machines_have_different_names() -> None:
    study = at_work(study_of(*[([0.1], "COMPLETE")] * 3), (0, 2, "north"), (1, 3, "south"), (2, 4, "north"))
    assert told(lanes(study)) == [("north, slot 1", [0, 2]), ("south, slot 1", [1])]


def test_a_trial_that_waited_left_its_lane_to_others() -> None:
    study = at_work(study_of(*[([0.1], "COMPLETE")] * 3), (0, 2, "north"), (2, 4, "north"), (4, 6, "north"))
    for trial, machine in zip(study, ("north", "south", "north"), strict=True):
        trial.enter_attempt(6.0 + 2 * trial.number, 8.0 + 2 * trial.number, machine)
    assert told(lanes(study)) == [("north, slot 1", [0, 1, 2, 0, 2]), ("south, slot 1", [1])]


def test_a_trial_that_never_began_has_no_lane() -> None:
    assert lanes(study_of(([], "RUNNING"))) == []
    assert most_at_once(study_of(([], "RUNNING"))) == 0


def test_a_machine_that_returns_renamed_adds_no_slots() -> None:
    spans = (0, 5, "c1"), (0, 5, "c1"), (5, 9, "c2"), (6, 9, "c2")
    study = at_work(study_of(*[([0.1], "COMPLETE")] * 4), *spans)
    assert (len(lanes(study)), most_at_once(study)) == (4, 2)


def test_stopped_trials_count_with_the_best_that_they_reached(space: Space) -> None:
    study = study_of(([0.1, 0.4, 0.3], "PRUNED"), ([], "FAIL"), ([0.2], "RUNNING"), ([0.9], "COMPLETE"))
    assert [trial.values for trial in scored(space, study).trials] == [[0.4], [0.2], [0.9]]
    assert len(to_optuna(space, study).trials) == 4


def test_trials_of_another_search_are_none_of_the_reports(space: Space) -> None:
    carried = study_of(([0.8], "COMPLETE"), ([0.7], "PRUNED")).trials
    carried[0].number, carried[1].number = -1, -2
    study = Study(None, "max", study_of(([0.1, 0.4], "PRUNED"), ([0.9], "COMPLETE")).trials, carried)
    study[0].params["learn_rate"] = 1e-4
    shown = scored(space, study).trials
    assert [(trial.values, trial.params["learn_rate"]) for trial in shown] == [([0.4], 1e-4), ([0.9], 1e-3)]


def a_search(space: Space, n: int, height) -> Study:  # type: ignore[no-untyped-def]
    study = Study(None, "max")
    for i in range(n):
        number = study.add(
            {"learn_rate": 10 ** (-5 + 3 * (i * 7 % n) / n), "loss": ("mse", "cosine")[i % 2]}
        ).number
        study.report(number, {"pairs_seen": 100.0, "o": height(study[number].params)}, "o")
        study.finish(number, "COMPLETE")
    return study


def test_only_an_important_setting_exceeds_chance(space: Space) -> None:
    study = a_search(space, 60, lambda params: -abs(math.log10(params["learn_rate"]) + 3))
    found = {item.name: item for item in importances(scored(space, study))}
    assert found["learn_rate"].is_above_chance
    assert not found["loss"].is_above_chance
    assert sum(item.share for item in found.values()) == pytest.approx(1)


def test_importances_repeat(space: Space) -> None:
    study = a_search(space, 12, lambda params: params["learn_rate"])
    assert importances(scored(space, study)) == importances(scored(space, study))


@pytest.mark.parametrize(("n", "height"), [(7, lambda params: params["learn_rate"]), (20, lambda _: 0.5)])
def test_there_are_no_importances_of_few_trials_or_of_equal_ones(space: Space, n: int, height) -> None:  # type: ignore[no-untyped-def]
    assert importances(scored(space, a_search(space, n, height))) == []


def conditional_search(settings: Settings, n: int, height) -> tuple[Space, Study]:  # type: ignore[no-untyped-def]
    tree = {
        "space": {
            "learn_rate": {"log_uniform": [1e-5, 1e-2]},
            "loss": {"choice": ["mse", "infonce"]},
            "temperature": {"log_uniform": [0.01, 1.0], "when": {"loss": "infonce"}},
        }
    }
    space = from_tree(tree, settings, source="search.yaml")
    study = Study(None, "max")
    for i in range(n):
        drawn = {"learn_rate": 10 ** (-5 + 3 * (i * 7 % n) / n), "loss": ("mse", "infonce")[i % 2]}
        params = space.active(drawn | {"temperature": 10 ** (-2 + 2 * (i * 11 % n) / n)})
        number = study.add(params).number
        study.report(number, {"pairs_seen": 100.0, "o": height(params)}, "o")
        study.finish(number, "COMPLETE")
    return space, study


def test_a_conditional_setting_has_an_importance(settings: Settings) -> None:
    space, study = conditional_search(
        settings, 60, lambda params: -abs(math.log10(params.get("temperature", 1.0)) + 1)
    )
    found = {item.name: item for item in importances(scored(space, study))}
    assert set(found) == {"learn_rate", "loss", "temperature"}
    assert found["temperature"].is_above_chance
    assert not found["learn_rate"].is_above_chance
    assert sum(item.share for item in found.values()) == pytest.approx(1)


def test_a_setting_of_one_trial_alone_gives_no_warning(settings: Settings) -> None:
    space, study = conditional_search(settings, 12, lambda params: params["learn_rate"])
    for trial in study.trials[:10]:
        trial.params = space.active(trial.params | {"loss": "mse"})
    assert sum("temperature" in trial.params for trial in study) == 1
    assert {item.name for item in importances(scored(space, study))} >= {"learn_rate", "loss"}
