from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from themo.config.settings import Settings
from themo.errors import InputError
from tune.cluster.resources import Resources
from tune.driver.warm_start import CarriedOver, carry_over
from tune.space.search_space import from_tree
from tune.study.search import Search, new_search
from tune.study.study import Study
from tune.study.trial_record import Takeover

SPACE = {"learn_rate": {"log_uniform": [1e-4, 1e-2]}, "pooling": {"choice": ["mean", "first"]}}


def searched(
    settings: Settings, space: dict[str, Any], *outcomes: tuple[dict[str, Any], float | None]
) -> tuple[Search, Study]:
    """An old search with a trial an outcome; one without a value failed."""
    search = Search("old", "uid", from_tree({"space": space}, settings, "old.yaml"), settings, Resources())
    study = Study(None, "max")
    for params, value in outcomes:
        trial = study.add(params)
        if value is not None:
            study.report(trial.number, {"pairs_seen": 100, settings.objective: value}, settings.objective)
        study.finish(trial.number, "FAIL" if value is None else "COMPLETE")
    return search, study


def test_trials_within_the_new_space_carry_over(settings: Settings) -> None:
    old, study = searched(
        settings,
        SPACE | {"learn_rate": {"log_uniform": [1e-5, 1e-2]}},
        ({"learn_rate": 1e-3, "pooling": "mean"}, 0.5),
        ({"learn_rate": 2e-5, "pooling": "mean"}, 0.4),
        ({"learn_rate": 3e-3, "pooling": "first"}, None),
        ({"learn_rate": 5e-3, "pooling": "first"}, 0.7),
    )
    carried = carry_over(old, study, from_tree({"space": SPACE}, settings, "new.yaml"), settings)
    assert [(t.number, t.params["learn_rate"], t.best("max")) for t in carried.trials] == [
        (-1, 1e-3, 0.5),
        (-2, 5e-3, 0.7),
    ]
    assert str(carried) == (
        "2 of 4 trials carry over; left out: 1 with learn_rate outside the space, "
        "1 that failed or did not finish"
    )


def test_settings_that_diverged_carry_over_without_a_score(settings: Settings) -> None:
    outcomes: list[tuple[dict[str, Any], float | None]] = [
        ({"learn_rate": rate, "pooling": "mean"}, None) for rate in (1e-3, 2e-3)
    ]
    old, study = searched(settings, SPACE, ({"learn_rate": 3e-3, "pooling": "mean"}, 0.5), *outcomes)
    study[1].reason, study[2].reason = "diverged: loss is nan", "its worker died"  # the latter may end well
    space = from_tree({"space": SPACE}, settings, "new.yaml")
    carried = carry_over(old, study, space, settings)
    assert [(trial.params["learn_rate"], trial.is_scored) for trial in carried.trials] == [
        (3e-3, True),
        (1e-3, False),
    ]
    assert str(carried) == (
        "1 of 3 trials carry over; left out: 1 that failed or did not finish, 1 that diverged"
    )
    with pytest.raises(InputError, match=r"0 of 2 trials carry over; left out: 1 .*, 1 that diverged"):
        carry_over(old, Study(None, "max", study.trials[1:]), space, settings)


def test_an_open_objective_is_the_old_searchs(settings: Settings, tmp_path: Path) -> None:
    settings = settings.override({"objective": "auto", "logs_dir": str(tmp_path)})
    space = from_tree({"space": SPACE}, settings, "old.yaml")
    old = new_search("old", space, settings, Resources())
    assert old.settings.training.objective != "auto"
    settings = settings.override({"threads": 1})
    _, study = searched(settings, SPACE, ({"learn_rate": 1e-3, "pooling": "mean"}, 0.5))
    assert str(carry_over(old, study, space, settings)) == "1 of 1 trials carry over"


def test_a_setting_that_one_of_them_held_fixed(settings: Settings) -> None:
    outcomes = (
        ({"learn_rate": 1e-3, "pooling": "mean"}, 0.5),
        ({"learn_rate": 1e-3, "pooling": "first"}, 0.6),
    )
    old, study = searched(settings, SPACE, *outcomes)
    new = from_tree(
        {"space": {"learn_rate": SPACE["learn_rate"], "batch_size": {"integer": [32, 64]}}}, settings, "n"
    )
    carried = carry_over(old, study, new, settings)
    (trial,) = carried.trials  # the new search holds pooling at mean; the old one held batch_size at 64
    assert trial.params == {"learn_rate": 1e-3, "batch_size": settings.training.batch_size}
    assert carried.left_out == {"with another pooling": 1}


def test_a_trial_with_changed_settings_is_not_carried_over(settings: Settings) -> None:
    params = {"learn_rate": 1e-3, "pooling": "mean"}
    old, study = searched(settings, SPACE, (params, 0.5), (params, 0.6))
    study[1].lineage.append(Takeover(50, 0.2, params | {"learn_rate": 5e-3}, donor=0))
    carried = carry_over(old, study, from_tree({"space": SPACE}, settings, "n"), settings)
    assert [trial.best("max") for trial in carried.trials] == [0.5]
    assert str(carried) == "1 of 2 trials carry over; left out: 1 whose settings changed during training"


def test_paths_seed_and_threads_do_not_count(settings: Settings) -> None:
    old, study = searched(settings, SPACE, ({"learn_rate": 1e-3, "pooling": "mean"}, 0.5))
    new = settings.override({"seed": 9, "threads": 4, "logs_dir": "other"})
    assert len(carry_over(old, study, from_tree({"space": SPACE}, new, "n"), new).trials) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3.0}, "--warm-start old: 0 of 1 trials carry over; left out: 1 with another epochs"),
    ],
)
def test_nothing_to_start_from(settings: Settings, change: dict[str, Any], message: str) -> None:
    old, study = searched(settings, SPACE, ({"learn_rate": 1e-3, "pooling": "mean"}, 0.5))
    new = settings.override(change)
    with pytest.raises(InputError) as caught:
        carry_over(old, study, from_tree({"space": SPACE}, new, "n"), new)
    assert str(caught.value) == message


RATES = (1e-3, 2e-3, 3e-3, 4e-3, 5e-3)


def of_another_task(settings: Settings, new: Settings, n: int = 5, **search: object) -> CarriedOver:
    """Trials that rise with their learning rate, carried over to a search with other settings."""
    outcomes = [({"learn_rate": rate, "pooling": "mean"}, rate) for rate in RATES[:n]]
    old, study = searched(settings, SPACE, *outcomes)
    return carry_over(old, study, from_tree({"space": SPACE, "search": search}, new, "n"), new)


@pytest.mark.parametrize(
    ("change", "task"),
    [
        ({"architecture": "another"}, "architecture"),
        ({"corpus": ["other.tsv"]}, "corpus"),
        ({"objective": "val/loss"}, "objective"),
    ],
)
def test_another_task_gives_settings_without_scores(
    settings: Settings, change: dict[str, Any], task: str
) -> None:
    carried = of_another_task(settings, settings.override(change))
    assert carried.trials == ()
    assert carried.proposals == (
        {"learn_rate": 5e-3, "pooling": "mean"},
        {"learn_rate": 4e-3, "pooling": "mean"},
    )
    assert str(carried) == (
        f"0 of 5 trials carry over; of 5 with another {task}, the best 2 are tried first, without scores"
    )


def test_another_miniature_gives_settings_without_scores(settings: Settings) -> None:
    recipe = settings.miniature.model_copy(update={"seed": settings.miniature.seed + 1})
    carried = of_another_task(settings, settings.model_copy(update={"miniature": recipe}))
    assert (carried.trials, len(carried.proposals), carried.task) == ((), 2, ("miniature",))


def test_trials_of_other_seconds_give_settings_without_scores(settings: Settings) -> None:
    rules = {"resource": "seconds", "trial_seconds": 60, "grace_share": 0.1}
    carried = of_another_task(settings, settings, **rules)
    assert (carried.trials, len(carried.proposals), carried.task) == ((), 2, ("trial_seconds",))


def test_proposals_fill_half_of_the_first_trials_at_most(settings: Settings) -> None:
    new = settings.override({"architecture": "another"})
    assert len(of_another_task(settings, new, startup_trials=2).proposals) == 1
    assert str(of_another_task(settings, new, n=1)) == (
        "0 of 1 trials carry over; of 1 with another architecture, the best is tried first, without its score"
    )


def test_another_task_and_other_settings_give_nothing(settings: Settings) -> None:
    new = settings.override({"architecture": "another", "epochs": 3.0})
    with pytest.raises(InputError, match=r"0 of 5 trials carry over; left out: 5 with another "):
        of_another_task(settings, new)


def test_the_lowest_loss_is_proposed_first(settings: Settings) -> None:
    old_settings = settings.override({"objective": "val/loss"})
    carried = of_another_task(old_settings, settings)
    assert carried.proposals[0]["learn_rate"] == 1e-3


def test_equal_settings_count_with_their_best_score(settings: Settings) -> None:
    """As of an old search that varied a seed or a corpus."""
    good, other = ({"learn_rate": rate, "pooling": "mean"} for rate in (1e-3, 2e-3))
    old, study = searched(settings, SPACE, (good, 0.9), (other, 0.5), (good, 0.1), (other, 0.2))
    new = settings.override({"architecture": "another"})
    assert carry_over(old, study, from_tree({"space": SPACE}, new, "n"), new).proposals == (good,)


def test_equal_settings_are_proposed_once(settings: Settings) -> None:
    params = {"learn_rate": 1e-3, "pooling": "mean"}
    old, study = searched(settings, SPACE, *[(params, value / 10) for value in range(8)])
    new = settings.override({"architecture": "another"})
    assert carry_over(old, study, from_tree({"space": SPACE}, new, "n"), new).proposals == (params,)


def test_trials_that_the_old_search_carried_count_too(settings: Settings) -> None:
    old, study = searched(settings, SPACE, ({"learn_rate": 1e-3, "pooling": "mean"}, 0.5))
    study[0].number = -1
    later = Study(None, "max", carried=study.trials)
    own = later.add({"learn_rate": 2e-3, "pooling": "mean"})
    later.report(own.number, {"pairs_seen": 100, settings.objective: 0.6}, settings.objective)
    later.finish(own.number, "COMPLETE")
    carried = carry_over(old, later, from_tree({"space": SPACE}, settings, "n"), settings)
    assert [(t.number, t.params["learn_rate"]) for t in carried.trials] == [(-1, 1e-3), (-2, 2e-3)]


LOSSES = {"loss": {"choice": ["mse", "infonce"]}, "learn_rate": SPACE["learn_rate"]}
WARM = {"log_uniform": [0.02, 0.2]}
CONDITIONAL = LOSSES | {"temperature": WARM | {"when": {"loss": "infonce"}}}


def test_trials_with_an_inactive_temperature_carry_over(settings: Settings) -> None:
    """In an older search trials have a temperature with every loss."""
    old, study = searched(
        settings,
        LOSSES | {"temperature": {"log_uniform": [0.01, 1.0]}},
        ({"loss": "mse", "learn_rate": 1e-3, "temperature": 0.7}, 0.5),
        ({"loss": "infonce", "learn_rate": 1e-3, "temperature": 0.1}, 0.6),
        ({"loss": "infonce", "learn_rate": 1e-3, "temperature": 0.7}, 0.7),
    )
    carried = carry_over(old, study, from_tree({"space": CONDITIONAL}, settings, "n"), settings)
    assert [trial.params for trial in carried.trials] == [
        {"loss": "mse", "learn_rate": 1e-3},
        {"loss": "infonce", "learn_rate": 1e-3, "temperature": 0.1},
    ]
    assert carried.left_out == {"with temperature outside the space": 1}


def test_an_inactive_setting_counts_with_its_base_value(settings: Settings) -> None:
    base = settings.leaves()["temperature"]
    params: dict[str, Any] = {"loss": "mse", "learn_rate": 1e-3}
    old, study = searched(settings, CONDITIONAL, (params, 0.5))
    flat = from_tree({"space": LOSSES | {"temperature": WARM}}, settings, "n")
    assert carry_over(old, study, flat, settings).trials[0].params == params | {"temperature": base}


def test_an_inactive_setting_with_an_effect_must_be_equal(settings: Settings) -> None:
    """The new search would train with the base value of the inactive dropout."""
    pooling = {"pooling": {"choice": ["mean", "first"]}}
    rates = {"dropout": {"uniform": [0.0, 0.3]}}
    old, study = searched(
        settings.override({"dropout": 0.1}),
        pooling | rates,
        ({"pooling": "mean", "dropout": 0.2}, 0.5),
        ({"pooling": "first", "dropout": 0.2}, 0.6),
    )
    conditional = pooling | {"dropout": rates["dropout"] | {"when": {"pooling": "first"}}}
    new = settings.override({"dropout": 0.1})
    carried = carry_over(old, study, from_tree({"space": conditional}, new, "n"), new)
    assert [trial.params["pooling"] for trial in carried.trials] == ["first"]
    assert carried.left_out == {"with another dropout": 1}


def test_another_second_objective_gives_settings_alone(settings: Settings) -> None:
    carried = of_another_task(settings, settings, second_objective="mb")
    assert (carried.trials, len(carried.proposals), carried.task) == ((), 2, ("second_objective",))


def test_the_same_second_objective_carries_costs_over(settings: Settings) -> None:
    two = {"space": SPACE, "search": {"second_objective": "mb"}}
    space = from_tree(two, settings, "new.yaml")
    old = Search("old", "uid", space, settings, Resources())
    study = Study(None, "max")
    study.add({"learn_rate": 1e-3, "pooling": "mean"})
    metrics = {"pairs_seen": 100.0, settings.objective: 0.5, "cost/mb": 2.5}
    study.report(0, metrics, settings.objective)
    study.finish(0, "COMPLETE")
    assert [trial.cost for trial in carry_over(old, study, space, settings).trials] == [2.5]
    one = from_tree({"space": SPACE}, settings, "one.yaml")  # scores of the objective compare
    assert len(carry_over(old, study, one, settings).trials) == 1
