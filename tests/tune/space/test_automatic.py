"""Searcher and scheduler of spaces that name none; the command: `tests/tune/driver/test_request.py`."""

from __future__ import annotations

from typing import Any

import pytest

from themo.config.settings import load
from tune.space.automatic import automatic_rules
from tune.space.search_space import Space, from_tree

RATES = {"learn_rate": {"log_uniform": [1e-5, 1e-2]}}
FREEZE_THAW = {"searcher": "forecast", "scheduler": "freeze-thaw"}


def space_of(tree: dict[str, Any]) -> Space:
    return from_tree({"space": RATES, **tree}, load(), "space.yaml")


def test_a_space_without_trusted_settings_gets_freeze_thaw() -> None:
    space = space_of({})
    assert space.is_automatic
    assert automatic_rules(space) == FREEZE_THAW
    chosen = space.searched_by(**automatic_rules(space))
    assert (chosen.search.searcher, chosen.search.scheduler) == ("forecast", "freeze-thaw")
    assert not chosen.is_automatic


def test_the_share_of_the_file_is_kept() -> None:
    space = space_of({"search": {"grace_share": 0.2, "num_samples": 5, "startup_trials": 3}})
    assert automatic_rules(space) == FREEZE_THAW
    chosen = space.searched_by(**automatic_rules(space)).search
    assert (chosen.grace_share, chosen.num_samples, chosen.startup_trials) == (0.2, 5, 3)


@pytest.mark.parametrize(
    "tree",
    [
        {"first": [{}]},
        {"search": {"resource": "seconds", "trial_seconds": 60, "grace_share": 0.1}},
        {"search": {"second_objective": "mb"}},
        {"space": {**RATES, "epochs": {"uniform": [1.0, 3.0]}}},
        {"space": {**RATES, "max_pairs": {"choice": [200, None]}}},
    ],
)
def test_other_spaces_keep_the_defaults(tree: dict[str, Any]) -> None:
    space = space_of(tree)
    assert space.is_automatic
    assert automatic_rules(space) == {}
    assert (space.search.searcher, space.search.scheduler) == ("tpe", "asha")


@pytest.mark.parametrize(
    "given",
    [
        {"searcher": "random"},
        {"scheduler": "median"},
        {"grace_pairs": 500},
        {"reduction_factor": 2},
        {"scheduler": "hyperband", "brackets": 2},
    ],
)
def test_a_named_rule_is_not_changed(given: dict[str, Any]) -> None:
    assert not space_of({"search": given}).is_automatic
    assert not space_of({}).searched_by(**given).is_automatic


def test_a_search_read_again_has_named_rules() -> None:
    space = space_of({})
    assert not from_tree(space.to_tree(), load(), "search.yaml").is_automatic
    assert from_tree(space.to_tree(), load(), "search.yaml") == space
