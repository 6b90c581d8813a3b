from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from themo.cli.main import main
from themo.config.presets import presets, space_path
from themo.config.settings import Settings, known_leaves
from themo.config.settings import load as load_settings
from themo.errors import InputError
from tune.space.contradictions import CONTRADICTING, refuse_contradictions
from tune.space.read_dimensions import FIXED_LEAVES, FIXED_SECTIONS
from tune.space.search_space import from_tree, load

ADVICE = "change a range, or search one setting only `when` another has a value that fits"
OF_PARTS = "`training.accumulate <= training.batch_size` must hold, got accumulate="
OF_SIZES = "`student.hidden_size` and `student.hidden_layers` need `student.backbone_weights: false`, got "
WEIGHTS = {"choice": [False, True]}


def refuse(settings: Settings, space: Mapping[str, Any]) -> None:
    refuse_contradictions(from_tree({"space": space}, settings, "x.yaml"), settings, "x.yaml")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "more parts than the smallest batch": (
        {"batch_size": {"integer": [16, 256]}, "accumulate": {"integer": [1, 32]}},
        f"batch_size, accumulate: {OF_PARTS}32, batch_size=16",
    ),
    "a choice of parts": (
        {"accumulate": {"choice": [1, 24, 4]}, "batch_size": {"choice": [16, 32]}},
        f"batch_size, accumulate: {OF_PARTS}24, batch_size=16",
    ),
    "parts that are searched with too small a batch": (
        {
            "batch_size": {"choice": [64, 32, 16]},
            "accumulate": {"choice": [1, 32], "when": {"batch_size": [64, 16]}},
        },
        f"batch_size, accumulate: {OF_PARTS}32, batch_size=16",
    ),
    "layers beside weights": (
        {"backbone_weights": WEIGHTS, "hidden_layers": {"integer": [1, 4]}},
        f"backbone_weights, hidden_layers: {OF_SIZES}hidden_layers=1, backbone_weights=true",
    ),
    "a width beside weights, though not always": (
        {"hidden_size": {"choice": [None, 64]}, "backbone_weights": WEIGHTS},
        f"backbone_weights, hidden_size: {OF_SIZES}hidden_size=64, backbone_weights=true",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_searched_settings_that_contradict_are_refused(settings: Settings, case: str) -> None:
    space, message = REFUSED[case]
    with pytest.raises(InputError) as refused:
        refuse(settings.override({"backbone_weights": False}), space)
    assert str(refused.value) == f"x.yaml with {message}; {ADVICE}"


@pytest.mark.parametrize(
    "space",
    [
        {"batch_size": {"integer": [32, 256]}, "accumulate": {"integer": [1, 32]}},
        {
            "batch_size": {"integer": [16, 64], "step": 16},
            "accumulate": {"choice": [1, 32], "when": {"batch_size": [32, 48, 64]}},
        },
        {
            "backbone_weights": WEIGHTS,
            "hidden_size": {"choice": [None, 64], "when": {"backbone_weights": False}},
            "hidden_layers": {"integer": [1, 4], "when": {"backbone_weights": False}},
        },
        {"hidden_size": {"choice": [None, 64]}, "hidden_layers": {"integer": [1, 4]}},
        {"batch_size": {"log_integer": [1, 64]}, "learn_rate": {"log_uniform": [1e-4, 1e-3]}},
    ],
)
def test_settings_that_never_contradict_are_accepted(settings: Settings, space: dict[str, Any]) -> None:
    refuse(settings.override({"backbone_weights": False}), space)


@pytest.mark.parametrize("preset", presets())
def test_shipped_spaces_have_no_contradictions(preset: str) -> None:
    settings, path = load_settings(preset=preset), space_path(presets()[preset])
    refuse_contradictions(load(path, settings), settings, str(path))


def test_a_base_value_of_an_inactive_setting_counts(settings: Settings) -> None:
    """With a batch of 16 the trial has 32 parts, those of the preset."""
    space = {
        "batch_size": {"choice": [16, 64]},
        "accumulate": {"choice": [1, 32], "when": {"batch_size": 64}},
    }
    read = from_tree({"space": space}, settings, "x.yaml")
    refuse_contradictions(read, settings, "x.yaml")
    with pytest.raises(InputError, match=f"^x.yaml with batch_size: {OF_PARTS}32, batch_size=16; change"):
        refuse_contradictions(read, settings.override({"accumulate": 32}), "x.yaml")


def test_a_long_range_is_checked_at_its_ends(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also as a parent, whose values a condition splits into two choices."""
    space = from_tree(
        {
            "space": {
                "batch_size": {"integer": [1000, 9000]},
                "accumulate": {"integer": [1, 1000]},
                "dropout": {"uniform": [0.0, 0.1], "when": {"batch_size": [2000, 3000, 4000]}},
            }
        },
        settings.override({"batch_size": 1000}),
        "x.yaml",
    )
    tried: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Settings, "override", lambda _, values, **__: tried.append(tuple(values.values())))
    refuse_contradictions(space, settings, "x.yaml")
    assert sorted(tried) == sorted(itertools.product([1000, 9000, 2000, 4000], [1, 1000]))


def test_no_other_searchable_settings_contradict_each_other() -> None:
    """A new rule between sections needs its settings in `CONTRADICTING`."""
    base = load_settings(preset="vit-l-14-beto", overrides={"backbone_weights": False, "batch_size": 300})
    leaves = [
        leaf
        for leaf, (section, _) in known_leaves().items()
        if section not in FIXED_SECTIONS and leaf not in FIXED_LEAVES
    ]
    pool = (None, True, False, 1, 8, 300, 0.5, "first", "cosine", "unit", "own.tsv")

    def is_valid(values: Mapping[str, Any]) -> bool:
        try:
            base.override(values)
        except InputError:
            return False
        return True

    single = [(leaf, value) for leaf in leaves for value in pool if is_valid({leaf: value})]
    assert {leaf for leaf, _ in single} >= {"targets", "epochs", "compile", *sum(CONTRADICTING, ())}
    found = {
        frozenset((a, b))
        for (a, x), (b, y) in itertools.combinations(single, 2)
        if a != b and not is_valid({a: x, b: y})
    }
    assert {leaf for pair in found for leaf in pair} == {*sum(CONTRADICTING, ())}
    assert all(any(pair <= set(group) for group in CONTRADICTING) for pair in found)


def test_tune_refuses_contradictions_with_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump({"space": REFUSED["a choice of parts"][0]}), encoding="utf-8")
    assert main(["tune", "--space", str(path), "--logs-dir", str(tmp_path / "logs")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"Error: {path} with {REFUSED['a choice of parts'][1]}; {ADVICE}"
    assert not list(tmp_path.rglob("search.yaml"))
