from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.cli import main as cli
from themo.config import settings as config
from themo.config.presets import presets, space_path
from themo.config.settings import Settings
from themo.errors import InputError
from tune.searchers.by_name import propose
from tune.space.dimensions import Choice, FloatRange, IntRange, contains
from tune.space.read_dimensions import data_leaves
from tune.space.search_settings import SchedulerName, SearcherName
from tune.space.search_space import from_tree, load
from tune.study.study import Study


def space_of(settings: Settings, /, **space: Any):
    return from_tree({"space": space}, settings, source="search.yaml")


def test_the_file_that_comes_with_themo_suits_the_default_preset():
    space = load(space_path(), config.load())
    searched = ["learn_rate", "batch_size", "loss", "pooling", "schedule", "temperature"]
    assert set(searched) <= set(space.dimensions)
    assert space.first
    assert set(space.first[0]) <= set(space.dimensions)


@pytest.mark.parametrize("preset", presets())
def test_the_space_of_each_preset_holds_its_trusted_settings(preset: str):
    settings = config.load(preset=preset)
    space = load(space_path(presets()[preset]), settings)
    assert space.first[0] == space.active(settings.leaves())
    assert space.is_complete(space.first[0])
    assert space.first[0].keys() | {"temperature"} == set(space.dimensions)


def test_kinds_of_ranges_include_both_ends(settings):
    space = space_of(
        settings,
        learn_rate={"log_uniform": [1e-4, 1e-2]},
        weight_decay={"uniform": [0, 0.1]},
        batch_size={"integer": [32, 256], "step": 16},
        warmup_steps={"log_integer": [1, 1000]},
        loss={"choice": ["mse", "cosine+0.1*infonce"]},
    )
    assert space.dimensions == {
        "learn_rate": FloatRange(1e-4, 1e-2, log=True),
        "weight_decay": FloatRange(0, 0.1),
        "batch_size": IntRange(32, 256, step=16),
        "warmup_steps": IntRange(1, 1000, log=True),
        "loss": Choice(["mse", "cosine+0.1*infonce"]),
    }


@pytest.mark.parametrize(
    ("name", "rule", "message"),
    [
        (
            "learnrate",
            {"uniform": [0, 1]},
            r"x.yaml: space.learnrate: no setting of this name \(did you mean 'learn_rate'\?\)",
        ),
        (1, {"uniform": [0, 1]}, r"x.yaml: space.1: must be the name of a setting, got 1"),
        (None, {"uniform": [0, 1]}, r"x.yaml: space.None: must be the name of a setting, got None"),
        (
            "learn_rate",
            {"uniform": [1, 0.1]},
            r"space.learn_rate: `low < high` must hold, got low=1, high=0.1",
        ),
        ("learn_rate", {"uniform": [1, 1]}, r"`low < high` must hold, got low=1, high=1"),
        ("learn_rate", {"log_uniform": [0, 1]}, r"`low > 0` must hold in log_uniform, got low=0"),
        ("learn_rate", {"uniform": [0.1]}, r"uniform must be two numbers \[low, high\], got \[0.1\]"),
        ("learn_rate", {"uniform": [0.1, float("nan")]}, r"must be two numbers"),
        ("learn_rate", {"uniform": [0.1, 1], "step": 2}, r"uniform does not take step"),
        ("learn_rate", {"normal": [0, 1]}, r"must be a mapping with one of uniform, .*, got {'normal'"),
        ("learn_rate", [0, 1], r"must be a mapping with one of"),
        ("learn_rate", {"uniform": [-1, 1]}, r"x.yaml: learn_rate: must be greater than 0, got -1"),
        ("batch_size", {"integer": [32, 100.5]}, r"high must be a whole number, got 100.5"),
        ("batch_size", {"integer": [32.0, 96]}, r"low must be a whole number, got 32.0"),
        ("batch_size", {"choice": [64, 128.0]}, r"x.yaml: batch_size: must be a valid integer, got 128.0"),
        ("batch_size", {"uniform": [32, 256]}, r"x.yaml: batch_size: must be a valid integer, got 32.0"),
        (
            "batch_size",
            {"integer": [32, 100], "step": 16},
            r"high must be whole steps above low, got low=32",
        ),
        ("loss", {"choice": []}, r"choice must be a list with at least one value, got \[\]"),
        ("loss", {"choice": ["mse", "mse"]}, r"choices must be unique"),
        ("loss", {"choice": ["mse", "hinge"]}, r"x.yaml: loss: .*hinge"),
        ("pooling", {"choice": ["mean", ["a"]]}, r"a choice must be a string, number, bool or null"),
        ("objective", {"choice": ["val/loss"]}, r"must be equal for all trials; set it with --objective"),
        ("logs_dir", {"choice": ["a"]}, r"must be equal for all trials; set it with --logs-dir"),
        ("max_pairs", {"integer": [100, 200]}, r"a setting of the data must be a choice"),
    ],
)
def test_bad_dimensions_are_refused(settings, name, rule, message):
    with pytest.raises(InputError, match=message) as error:
        from_tree({"space": {name: rule}}, settings, source="x.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "objective",
        "report_pairs",
        "validation",
        "validation_pairs",
        "validation_captions",
        "validation_images",
    ],
)
def test_settings_of_the_comparison_are_not_searched(settings, name):
    with pytest.raises(
        InputError, match=rf"space\.{name}: this setting must be equal for all trials; set it"
    ):
        space_of(settings, **{name: {"choice": [1, 2]}})


def test_data_is_prepared_for_each_backbone():
    assert {"corpus", "architecture", "target", "backbone"} <= data_leaves()
    assert "learn_rate" not in data_leaves()


MANY_PROBLEMS = """\
space:
  learn_rate: {uniform: [-1, 0]}
  batchsize: {choice: [64]}
  temperature:
    log_uniform: [0.01, 0.2]
    when: {los: infonce}
first:
  - learn_rate: 1e-4
    pooling: mean
search:
  num_sample: 3
  grace_pairs: 80
  grace_share: 0.1
seed: 1
"""


def test_problems_of_a_space_come_one_a_line(settings, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(MANY_PROBLEMS, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load(path, settings)
    lines = [line.replace(str(path), "s.yaml") for line in str(error.value).splitlines()]
    assert lines[0] == "s.yaml:14: unknown key 'seed'; known keys: space, first, search"
    assert lines[1].startswith("s.yaml:2: learn_rate: must be greater than 0, got -1")
    assert lines[2].startswith("s.yaml:2: learn_rate: must be greater than 0, got 0")
    assert lines[3] == "s.yaml:3: space.batchsize: no setting of this name (did you mean 'batch_size'?)"
    assert lines[4] == "s.yaml:6: space.temperature.when.los: must be a setting of space"
    assert lines[5] == "s.yaml:9: first[0].pooling: must be a setting of space"
    assert lines[6] == "s.yaml:13: search: must have one of grace_pairs and grace_share, got 80 and 0.1"
    assert lines[7] == "s.yaml:11: unknown key 'search.num_sample' (did you mean 'num_samples'?)"
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, r"x.yaml: space must be a mapping of settings to ranges, got None"),
        ({"spaces": {}}, r"x.yaml: unknown key 'spaces'; known keys: space, first, search"),
        ({"search": {"zzz": 3}}, r"x.yaml: unknown key 'search.zzz'; known keys: num_samples, seed, "),
        ({"first": {"a": 1}}, r"first must be a list of mappings"),
        ({"first": [{"batch_size": 33}]}, r"first\[0\].batch_size: must lie in {'integer'.*, got 33"),
        ({"first": [{"batch_size": 64.0}]}, r"first\[0\].batch_size: must lie in {'integer'.*, got 64.0"),
        ({"first": [{"pooling": "mean"}]}, r"first\[0\].pooling: must be a setting of space"),
        ({"search": {"num_samples": 0}}, r"search.num_samples: must be greater than or equal to 1, got 0"),
        ({"search": {"samples": 3}}, r"unknown key 'search.samples' \(did you mean 'num_samples'\?\)$"),
        ({"search": {"reduction_factor": 1.0}}, r"search.reduction_factor: must be greater than 1, got 1.0"),
        (
            {"search": {"searcher": "tpes"}},
            r"x.yaml: search.searcher: must be 'tpe', 'gp', 'forecast', 'cmaes', 'random' or 'quasi-random', "
            r"got 'tpes'",
        ),
        ({"search": {"scheduler": None}}, r"search.scheduler: must be 'asha', .* or 'none', got None"),
        (
            {"search": {"scheduler": "median", "reduction_factor": 4}},
            r"x.yaml: search.reduction_factor: must be left out, scheduler median has no such setting, got 4",
        ),
        (
            {"search": {"confirm_seeds": 1}},
            r"search.confirm_seeds: must be greater than or equal to 2, got 1",
        ),
        ({"search": {"confirm_seeds": 7}}, r"search.confirm_seeds: must be less than or equal to 6, got 7"),
        ({"search": {"confirm": "on"}}, r"search.confirm: must be off or a share above 0, got 'on'"),
        ({"search": {"confirm": True}}, r"search.confirm: must be off or a share above 0, got True"),
        ({"search": {"confirm": -0.1}}, r"search.confirm: must be off or a share above 0, got -0.1"),
        ({"search": {"confirm": math.inf}}, r"search.confirm: must be off or a share above 0, got inf"),
        (
            {
                "space": {"learn_rate": {"uniform": [0.1, 1]}},
                "search": {"scheduler": "pbt", "confirm": 0.5},
            },
            r"x.yaml: search.confirm: must be left out, scheduler pbt has no such setting, got 0.5",
        ),
        ({"search": {"brackets": 2}}, r"search.brackets: must be left out, scheduler asha has no such"),
        (
            {"search": {"searcher": "random", "startup_trials": 4}},
            r"search.startup_trials: must be left out, searcher random has no such setting, got 4",
        ),
        (
            {"space": {"loss": {"choice": ["mse", "cosine"]}}, "search": {"searcher": "cmaes"}},
            r"x.yaml: search.searcher: cmaes needs a range of numbers in the space, got choices only: loss",
        ),
        (
            {
                "space": {"learn_rate": {"uniform": [0.1, 1]}},
                "search": {"scheduler": "pbt", "searcher": "gp"},
            },
            r"x.yaml: search.searcher: must be random or quasi-random with scheduler pbt, .*, got 'gp'",
        ),
        (
            {"search": {"scheduler": "pbt"}},
            r"x.yaml: search.scheduler: pbt needs a range of learn_rate, weight_decay or temperature in the "
            r"space, got batch_size",
        ),
    ],
)
def test_bad_files_are_refused(settings, tree, message):
    base = (
        {"space": {"batch_size": {"integer": [32, 64], "step": 16}}} if tree and "spaces" not in tree else {}
    )
    with pytest.raises(InputError, match=message):
        from_tree(base | tree, settings, source="x.yaml")


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"stop_gain": 0}, "search.stop_gain: must be greater than 0, got 0"),
        ({"stop_gain": math.inf}, "search.stop_gain: must be a finite number, got inf"),
        ({"stop_gain": 0.1, "stop_chance": 0}, "search.stop_chance: must be greater than 0, got 0"),
        ({"stop_gain": 0.1, "stop_chance": 1}, "search.stop_chance: must be less than 1, got 1"),
        (
            {"stop_chance": 0.1},
            "search.stop_chance: needs stop_gain (--stop-gain 0.01): stop_chance is the chance of this gain, "
            "got 0.1",
        ),
        (
            {"scheduler": "pbt", "stop_gain": 0.1},
            "search.stop_gain: must be left out, scheduler pbt has no such setting: all trials start before "
            "any ends, got 0.1",
        ),
    ],
)
def test_a_bad_chance_of_a_gain_is_refused(settings, search, message):
    tree = {"space": {"learn_rate": {"uniform": [0.1, 1]}}, "search": search}
    with pytest.raises(InputError, match=f"^x.yaml: {re.escape(message)}$"):
        from_tree(tree, settings, "x.yaml")


def test_limits_of_a_file_can_be_switched_off(settings):
    dimensions = {"learn_rate": {"uniform": [0.1, 1]}}
    limits = {"stop_after_no_gain": 3, "stop_gain": 0.1, "stop_chance": 0.2}
    space = from_tree({"space": dimensions, "search": limits}, settings, "x.yaml")
    search = space.searched_by(stop_gain="off").search
    assert (search.stop_after_no_gain, search.stop_gain, search.stop_chance) == (3, None, None)
    assert space.searched_by(stop_after_no_gain="off").search.stop_after_no_gain is None
    off = {"stop_after_no_gain": "off", "stop_gain": False}  # YAML reads `off` as false
    search = from_tree({"space": dimensions, "search": off}, settings, "x.yaml").search
    assert (search.stop_after_no_gain, search.stop_gain) == (None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"searcher": "grid"}, r"^--searcher: must be 'tpe', .* or 'quasi-random', got 'grid'$"),
        ({"scheduler": "ASHA"}, r"^--scheduler: must be 'asha', .* or 'none', got 'ASHA'$"),
        ({"num_samples": 0}, r"^--num-samples: must be greater than or equal to 1, got 0$"),
        ({"confirm_seeds": 1}, r"^--confirm-seeds: must be greater than or equal to 2, got 1$"),
        ({"seed": -1}, r"^--search-seed: must be greater than or equal to 0, got -1$"),
        ({"searcher": "cmaes"}, r"^--searcher: cmaes needs a range of numbers in the space"),
        ({"scheduler": "pbt"}, r"^--scheduler: pbt needs a range of learn_rate, .* in the space, got loss$"),
    ],
)
def test_bad_options_of_a_search_are_refused(settings, changes, message):
    with pytest.raises(InputError, match=message):
        space_of(settings, loss={"choice": ["mse", "cosine"]}).searched_by(**changes)


def test_a_population_does_not_end_where_nothing_is_gained(settings):
    space = space_of(settings, learn_rate={"uniform": [0.1, 1]})
    told = "must be left out, scheduler pbt has no such setting: all trials start before any ends, got 3"
    with pytest.raises(InputError, match=rf"^--stop-after-no-gain: {told}$"):
        space.searched_by(scheduler="pbt", stop_after_no_gain=3)
    with pytest.raises(InputError, match=rf"^x.yaml: search.stop_after_no_gain: {told}$"):
        from_tree(
            space.to_tree() | {"search": {"scheduler": "pbt", "stop_after_no_gain": 3}}, settings, "x.yaml"
        )
    of_file = space.searched_by(stop_after_no_gain=3, stop_gain=0.1, stop_chance=0.1)
    search = of_file.searched_by(scheduler="pbt").search
    assert (search.stop_after_no_gain, search.stop_gain, search.stop_chance) == (None, None, None)


def test_an_option_that_the_scheduler_does_not_use_is_refused(settings):
    space = space_of(settings, learn_rate={"uniform": [0.1, 1]})
    rule = r"^--confirm: must be left out, scheduler pbt has no such setting, got 0.5$"
    with pytest.raises(InputError, match=rule):
        space.searched_by(scheduler="pbt", confirm=0.5)
    assert space.searched_by(scheduler="pbt", confirm="off").search.scheduler == "pbt"


@pytest.mark.parametrize(("searcher", "drawn"), [("tpe", "random"), ("quasi-random", "quasi-random")])
def test_the_option_pbt_keeps_a_searcher_that_it_can_use(settings, searcher, drawn):
    space = space_of(settings, learn_rate={"uniform": [0.1, 1]}).searched_by(searcher=searcher)
    assert space.searched_by(scheduler="pbt").search.searcher == drawn


@pytest.mark.parametrize("search", [8, True, "x", [1]])
def test_rules_of_the_search_that_are_no_mapping_are_refused(settings, search):
    tree = {"space": {"learn_rate": {"uniform": [0.1, 1]}}, "search": search}
    with pytest.raises(InputError, match=r"^x.yaml: search"):
        from_tree(tree, settings, "x.yaml")


@pytest.mark.parametrize(
    ("scheduler", "searcher"),
    [
        (scheduler, searcher)
        for scheduler in get_args(SchedulerName)
        for searcher in get_args(SearcherName)
        if scheduler != "pbt" or searcher in ("random", "quasi-random")  # refused, as tested above
    ],
)
def test_an_option_replaces_the_files_dimension_entirely(settings, scheduler, searcher):
    """The file that comes with Themo names settings of its own scheduler; they are in nobody's way."""
    tree = {
        "space": {"learn_rate": {"log_uniform": [1e-4, 1e-2]}},
        "search": {"grace_share": 0.5, "reduction_factor": 2.0, "startup_trials": 3, "num_samples": 5},
    }
    space = from_tree(tree, settings, source="x.yaml").searched_by(searcher=searcher, scheduler=scheduler)
    assert (space.search.searcher, space.search.scheduler) == (searcher, scheduler)
    assert (space.search.grace_share, space.search.num_samples) == (0.5, 5)
    assert from_tree(space.to_tree(), settings, source="x.yaml") == space


@pytest.mark.parametrize(("written", "share"), [("off", 0.0), (False, 0.0), (0, 0.0), (1, 1.0), (0.5, 0.5)])
def test_a_share_for_confirmation_is_read_and_written(settings, written, share):
    tree = {"space": {"batch_size": {"integer": [32, 64]}}, "search": {"confirm": written}}
    space = from_tree(tree, settings, source="x.yaml")
    assert space.search.confirm == share
    assert space.to_tree()["search"]["confirm"] == (share or "off")
    assert from_tree(space.to_tree(), settings, source="x.yaml") == space


def test_the_help_of_tune_names_every_searcher_and_scheduler(capsys):
    with pytest.raises(SystemExit):
        cli.parse(["tune", "--help"])
    told = capsys.readouterr().out
    for name in [*get_args(SearcherName), *get_args(SchedulerName)]:
        assert re.search(rf"\b{name}\b", " ".join(told.split())), name


def test_all_problems_come_in_one_line(settings):
    tree = {
        "space": {"learn_rate": {"uniform": [1, 0]}, "colour": {"choice": [1]}},
        "first": [{"learn_rate": 0.1}],
        "search": {"seed": -1},
    }
    with pytest.raises(InputError, match=r"space\.learn_rate.*; .*space\.colour.*; .*search\.seed"):
        from_tree(tree, settings, source="x.yaml")


def test_trusted_settings_default_to_the_preset_in_the_space(settings):
    tree = {
        "space": {
            "learn_rate": {"log_uniform": [1e-5, 1e-2]},
            "batch_size": {"integer": [64, 128], "step": 64},
            "max_length": {"integer": [10, 20]},  # the preset's 77 lies outside
        },
        "first": [{"learn_rate": 0.005}],
    }
    space = from_tree(tree, settings, source="x.yaml")
    assert space.first == ({"batch_size": 64, "learn_rate": 0.005},)


def test_the_first_rung_of_a_tiny_share_is_one_pair(settings):
    space = space_of(settings, learn_rate={"uniform": [0.1, 1]}).searched_by(grace_share=0.001)
    assert space.for_trials(100).search.grace_pairs == 1


def test_another_resource_drops_the_rung_of_the_first(settings):
    space = space_of(settings, learn_rate={"uniform": [0.1, 1]}).searched_by(grace_share=0.1).for_trials(1000)
    assert space.search.grace_pairs == 100
    assert space.searched_by(resource="seconds", trial_seconds=60.0).search.grace_pairs is None


def test_combinations_of_searched_data_settings(settings):
    space = space_of(
        settings,
        max_pairs={"choice": [100, None]},
        target={"choice": ["state", "embedding"]},
        learn_rate={"uniform": [0.1, 0.2]},
    )
    assert space.combinations(frozenset({"max_pairs", "target", "corpus"})) == [
        {"max_pairs": 100, "target": "state"},
        {"max_pairs": 100, "target": "embedding"},
        {"max_pairs": None, "target": "state"},
        {"max_pairs": None, "target": "embedding"},
    ]
    assert space.combinations(frozenset({"corpus"})) == [{}]


positive = st.floats(1e-6, 1e3)
ranges = st.fixed_dictionaries(
    {},
    optional={
        "learn_rate": st.tuples(positive, positive)
        .filter(lambda ends: ends[0] < ends[1])
        .map(lambda ends: {"log_uniform": list(ends)}),
        "weight_decay": st.floats(0, 1).map(lambda low: {"uniform": [low, low + 1]}),
        "batch_size": st.tuples(st.integers(1, 64), st.integers(1, 9), st.integers(1, 9)).map(
            lambda t: {"integer": [t[0], t[0] + t[1] * t[2]], "step": t[2]}
        ),
        "warmup_steps": st.integers(1, 1000).map(lambda low: {"log_integer": [low, 2 * low]}),
        "pooling": st.permutations(["mean", "first"]).map(lambda names: {"choice": names}),
        "last_layer_norm": st.just({"choice": [False, True]}),
        "loss": st.sets(st.sampled_from(["mse", "cosine", "infonce", "mse+0.5*cosine"]), min_size=1).map(
            lambda names: {"choice": sorted(names)}
        ),
    },
).filter(bool)


@given(space=ranges, seed=st.integers(0, 1000))
def test_every_proposal_is_accepted_and_the_space_survives_yaml(settings, space, seed):
    tree = {"space": space, "search": {"seed": seed, "startup_trials": 1}}
    read = from_tree(tree, settings, source="x.yaml")
    assert from_tree(read.to_tree(), settings, source="x.yaml") == read
    study = Study(None, "max")
    for i in range(3):
        params = propose(read, study)
        assert settings.override(params).leaves() == settings.leaves() | params
        assert all(contains(read.dimensions[name], value) for name, value in params.items())
        study.add(params)
        study.report(i, {"pairs_seen": 1, "objective": float(i)}, "objective")
        study.finish(i, "COMPLETE")


def test_a_missing_file_is_refused(tmp_path: Path, settings):
    with pytest.raises(InputError, match=r"nothing.yaml: cannot be read: No such file"):
        load(tmp_path / "nothing.yaml", settings)
