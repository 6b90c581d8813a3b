from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from conditional_spaces import conditional
from hypothesis import given
from hypothesis import settings as examples

from themo.cli.main import main
from themo.config.presets import presets, space_path
from themo.config.settings import Settings
from themo.config.settings import load as load_settings
from themo.errors import InputError
from tune.space.conditions import in_words
from tune.space.dimensions import Choice, FloatRange, contains, n_values, value_at
from tune.space.search_space import Space, from_tree, load
from tune.study.tried import key_of

LOSS = {"choice": ["mse", "cosine", "infonce"]}
TEMPERATURE = {"log_uniform": [0.02, 0.2]}
OF_RANDOM_WEIGHTS = {
    "backbone_weights": {"choice": [True, False]},
    "hidden_size": {"choice": [32, 64], "when": {"backbone_weights": False}},
}


def space_of(settings: Settings, *first: Mapping[str, Any], **space: object) -> Space:
    return from_tree({"space": space, "first": list(first)}, settings, source="x.yaml")


def test_a_setting_is_active_where_its_condition_holds(settings: Settings) -> None:
    space = space_of(settings, loss=LOSS, temperature=TEMPERATURE | {"when": {"loss": "infonce"}})
    assert space.active({"temperature": 0.1, "loss": "infonce"}) == {"loss": "infonce", "temperature": 0.1}
    assert space.active({"temperature": 0.1, "loss": "mse"}) == {"loss": "mse"}
    assert space.active({"temperature": 0.1}) == {}
    assert space.is_complete({"loss": "mse"})
    assert not space.is_complete({"loss": "infonce"})
    assert in_words(space.conditions["temperature"]) == "where loss is infonce"


def test_the_shipped_spaces_search_temperature_with_infonce() -> None:
    for preset in ("miniature", "vit-l-14-beto"):
        settings = load_settings(preset=preset)
        condition = load(space_path(presets()[preset]), settings).conditions["temperature"]
        assert in_words(condition) == "where loss is infonce or cosine+0.1*infonce"


def test_all_parents_must_be_active_and_have_a_named_value(settings: Settings) -> None:
    space = space_of(
        settings,
        pooling={"choice": ["mean", "first"]},
        loss={**LOSS, "when": {"pooling": ["mean"]}},
        batch_size={"integer": [16, 64], "step": 16},
        temperature=TEMPERATURE | {"when": {"loss": ["infonce", "cosine"], "batch_size": [32, 64]}},
    )
    values = {"pooling": "mean", "loss": "cosine", "batch_size": 64, "temperature": 0.1}
    assert space.active(values) == values
    assert "temperature" not in space.active(values | {"batch_size": 48})
    assert space.active(values | {"pooling": "first"}) == {"pooling": "first", "batch_size": 64}
    assert in_words(space.conditions["temperature"]) == (
        "where loss is infonce or cosine and batch_size is 32 or 64"
    )


def test_a_conditional_space_survives_yaml(settings: Settings) -> None:
    space = space_of(settings, {"loss": "infonce", "temperature": 0.1}, {}, **shipped_like())
    again = from_tree(yaml.safe_load(yaml.safe_dump(space.to_tree())), settings, source="x.yaml")
    assert again == space
    assert again.to_tree()["space"]["temperature"]["when"] == {"loss": ["infonce"]}


def shipped_like() -> dict[str, object]:
    return {"loss": LOSS, "temperature": TEMPERATURE | {"when": {"loss": ["infonce"]}}}


def test_trusted_lines_have_active_settings_only(settings: Settings) -> None:
    space = space_of(settings, {}, {"loss": "infonce"}, {"loss": "cosine"}, **shipped_like())
    base = settings.leaves()
    assert base["loss"] == "mse"
    assert space.first == (
        {"loss": "mse"},
        {"loss": "infonce", "temperature": base["temperature"]},
        {"loss": "cosine"},
    )


def test_ends_are_checked_beside_values_of_the_parents(settings: Settings) -> None:
    assert settings.student.backbone_weights
    assert space_of(settings, **OF_RANDOM_WEIGHTS).n_points == 3
    always = OF_RANDOM_WEIGHTS | {"hidden_size": {"choice": [32, 64]}}
    with pytest.raises(InputError, match=r"need `student\.backbone_weights: false`"):
        space_of(settings, **always)
    too_narrow = OF_RANDOM_WEIGHTS | {"hidden_size": {"choice": [2], "when": {"backbone_weights": False}}}
    with pytest.raises(InputError, match=r"^x\.yaml: hidden_size: must be greater than or equal to 8, got 2"):
        space_of(settings, **too_narrow)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "itself": (
        {"loss": {**LOSS, "when": {"loss": "mse"}}},
        "space.loss.when: must name other settings, loss depends on itself",
    ),
    "a circle": (
        {
            "loss": {**LOSS, "when": {"pooling": "mean"}},
            "pooling": {"choice": ["mean", "first"], "when": {"last_layer_norm": True}},
            "last_layer_norm": {"choice": [True, False], "when": {"loss": "mse"}},
        },
        "space: settings must not depend on each other in a circle, "
        "got loss on pooling on last_layer_norm on loss",
    ),
    "an unknown setting": (
        {"loss": LOSS, "temperature": {**TEMPERATURE, "when": {"los": "infonce"}}},
        "space.temperature.when.los: must be a setting of space (did you mean 'loss'?)",
    ),
    "a setting that is not searched": (
        {"temperature": {**TEMPERATURE, "when": {"loss": "infonce"}}},
        "space.temperature.when.loss: must be a setting of space",
    ),
    "a value outside the choices": (
        {"loss": LOSS, "temperature": {**TEMPERATURE, "when": {"loss": ["infonce", "infonze"]}}},
        "space.temperature.when.loss: must lie in {'choice': ['mse', 'cosine', 'infonce']}, got 'infonze'",
    ),
    "a value outside the range": (
        {
            "hidden_layers": {"integer": [1, 4]},
            "dropout": {"uniform": [0, 0.2], "when": {"hidden_layers": 5}},
        },
        "space.dropout.when.hidden_layers: must lie in {'integer': [1, 4]}, got 5",
    ),
    "a real range": (
        {"learn_rate": {"uniform": [0.1, 0.2]}, "temperature": {**TEMPERATURE, "when": {"learn_rate": 0.1}}},
        "space.temperature.when.learn_rate: must be a choice or whole numbers, learn_rate is "
        "{'uniform': [0.1, 0.2]}",
    ),
    "no value": (
        {"loss": LOSS, "temperature": {**TEMPERATURE, "when": {"loss": []}}},
        "space.temperature.when.loss: must be a value or a list of values, got []",
    ),
    "no mapping": (
        {"loss": LOSS, "temperature": {**TEMPERATURE, "when": "infonce"}},
        "space.temperature.when: must be a mapping of settings to their values, got 'infonce'",
    ),
    "nothing": (
        {"loss": LOSS, "temperature": {**TEMPERATURE, "when": {}}},
        "space.temperature.when: must be a mapping of settings to their values, got {}",
    ),
    "parents that exclude each other": (
        {
            "loss": LOSS,
            "pooling": {"choice": ["mean", "first"], "when": {"loss": "mse"}},
            "temperature": {**TEMPERATURE, "when": {"loss": "infonce", "pooling": "mean"}},
        },
        "space.temperature.when: must be satisfiable, but its parents are never active together",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_condition_on_this_is_refused(settings: Settings, case: str) -> None:
    space, message = REFUSED[case]
    base = settings.override({"backbone_weights": False})
    with pytest.raises(InputError) as caught:
        space_of(base, **space)
    assert str(caught.value) == f"x.yaml: {message}"


@pytest.mark.parametrize(
    ("line", "value"),
    [({"loss": "mse", "temperature": 0.1}, 0.1), ({"temperature": 0.05}, 0.05)],
    ids=["by its own line", "by the preset"],
)
def test_a_trusted_inactive_setting_is_refused(
    settings: Settings, line: dict[str, Any], value: float
) -> None:
    with pytest.raises(InputError) as caught:
        space_of(settings, line, **shipped_like())
    assert str(caught.value) == (
        "x.yaml: first[0].temperature: must be left out, it is active only where loss is infonce, "
        f"got {value}"
    )


def test_tune_refuses_a_circle_with_exit_code_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump({"space": REFUSED["a circle"][0]}, sort_keys=False), encoding="utf-8")
    assert main(["tune", "--space", str(path), "--logs-dir", str(tmp_path / "logs")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"Error: {path}: {REFUSED['a circle'][1]}"


def test_problems_of_conditions_come_with_all_others(settings: Settings) -> None:
    space = {
        "loss": LOSS,
        "temperature": {**TEMPERATURE, "when": {"loss": "l1"}},
        "dropout": {"uniform": [1, 0]},
        "pooling": {"choice": ["mean"], "when": {"dropout": 0.1}},  # unknown until dropout is mended
    }
    with pytest.raises(InputError) as caught:
        space_of(settings, **space)
    told = str(caught.value).split("; x.yaml: ")
    assert [line.partition(":")[0].removeprefix("x.yaml") for line in told[1:]] == [
        "space.temperature.when.loss"
    ]
    assert "space.dropout" in told[0]


@examples(max_examples=50, deadline=None)
@given(space=conditional(finite=True))
def test_boxes_hold_each_distinct_setting_once(space: Space) -> None:
    raw = [
        dict(zip(space.dimensions, values, strict=True))
        for values in itertools.product(
            *([value_at(d, i) for i in range(int(n_values(d)))] for d in space.dimensions.values())
        )
    ]
    distinct = {key_of(space, values): space.active(values) for values in raw}
    assert space.n_points == len(distinct)
    for point in distinct.values():
        homes = [
            box
            for box in space.boxes
            if box.keys() == point.keys() and all(contains(d, point[name]) for name, d in box.items())
        ]
        assert len(homes) == 1
        assert list(homes[0]) == [name for name in space.dimensions if name in point]


@examples(max_examples=50, deadline=None)
@given(space=conditional())
def test_without_conditions_a_space_is_one_box(space: Space) -> None:
    plain = Space(space.dimensions)
    assert plain.boxes == [dict(space.dimensions)]
    assert (space.n_points == float("inf")) == any(
        isinstance(d, FloatRange) for box in space.boxes for d in box.values()
    )


def test_data_is_prepared_for_active_settings_alone(settings: Settings) -> None:
    space = space_of(
        settings,
        loss=LOSS,
        target={"choice": ["state", "unit"]},
        max_pairs={"choice": [100, 200], "when": {"target": "unit", "loss": ["mse", "cosine"]}},
    )
    found = space.combinations(frozenset({"target", "max_pairs", "corpus"}))
    assert sorted(found, key=str) == [
        {"target": "state"},
        {"target": "unit", "max_pairs": 100},
        {"target": "unit", "max_pairs": 200},
        {"target": "unit"},
    ]


def test_choices_of_equal_value_and_other_type_stay_apart() -> None:
    space = Space({"a": Choice([1, True]), "b": Choice(["x", "y"])}, conditions={"b": {"a": Choice([True])}})
    assert space.active({"a": 1, "b": "x"}) == {"a": 1}
    assert space.active({"a": True, "b": "x"}) == {"a": True, "b": "x"}
    assert space.n_points == 3
