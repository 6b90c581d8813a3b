"""YAML files that PyYAML answers with errors of Python; the others are tested in `test_settings.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from themo.config.yaml_files import read_value, read_yaml
from themo.errors import InputError

TOO_DEEP = "must nest at most 50 levels, also by aliases"


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    return str(caught.value).replace(str(path), "own.yaml")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("!!bool maybe", "!!bool must not be 'maybe'"),
        ("!!timestamp foo", "!!timestamp must not be 'foo'"),
        ('!!int ""', "!!int must not be ''"),
        ('!!float ""', "!!float must not be ''"),
        ("!!map [1]", "expected a mapping node, but found sequence"),
    ],
)
def test_a_value_that_does_not_fit_its_tag_is_named(tmp_path: Path, value: str, message: str) -> None:
    assert refusal(tmp_path, f"a: 1\nb: {value}\n") == f"own.yaml:2: is not valid YAML: {message}"
    assert read_value(value) == value


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: " + "[" * 50 + "]" * 50,
        "a: " + "[" * 2_000 + "]" * 2_000,
        "a: " + "[" * 200_000,
        "a: " + "{b: " * 2_000 + "}" * 2_000,
        "a:\n" + "- " * 200_000 + "b",
        "? " * 200_000 + "b",
        "\n".join(" " * i + "a:" for i in range(300)),
    ],
    ids=lambda text: text[:12],
)
def test_endless_nesting_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text) == f"own.yaml: is not valid YAML: {TOO_DEEP}"


def test_aliases_and_fifty_levels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("a: &a [1]\nb: [*a, *a]\nc: " + "[" * 49 + "]" * 49, encoding="utf-8")
    assert read_yaml(path)["b"] == [[1], [1]]


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("{a: &a {x: 1}, b: {<<: *a, y: 2}}", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ("{a: &a {x: 1}, b: {<<: *a, x: 2}}", {"a": {"x": 1}, "b": {"x": 2}}),
        ("{a: &a {x: 1}, b: {x: 2, <<: *a}}", {"a": {"x": 1}, "b": {"x": 2}}),
        ("{a: &a {x: 1}, b: {<<: [{x: 3, y: 3}, *a]}}", {"a": {"x": 1}, "b": {"x": 3, "y": 3}}),
        # the second mapping is made before the deeper one, which then has the merged key and its own
        (
            "{a: &a {x: 1}, b: [[&b {<<: *a, x: 2}]], c: {<<: *b}}",
            {"a": {"x": 1}, "b": [[{"x": 2}]], "c": {"x": 2}},
        ),
    ],
)
def test_a_merge_key_gives_way_to_own_keys(tmp_path: Path, text: str, tree: object) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_yaml(path) == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {<<: {x: 1}, y: 2, y: 3}", "key 'y' occurs twice"),
        ("a: {<<: {x: 1, x: 2}}", "key 'x' occurs twice"),
        ("a: {<<: {x: 1}, <<: {y: 2}}", "key '<<' occurs twice"),
        ("a: {<<: 1}", "expected a mapping or list of mappings for merging, but found scalar"),
    ],
)
def test_a_bad_mapping_with_a_merge_key_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text) == f"own.yaml:1: is not valid YAML: {message}"


def test_merges_of_merges_hold_each_key_once(tmp_path: Path) -> None:
    """Without that, ten merges of ten aliases each make 10^10 keys."""
    levels = ["a0: &a0 {x: 1}"]
    levels += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 11)]
    path = tmp_path / "own.yaml"
    path.write_text("\n".join(levels), encoding="utf-8")
    assert read_yaml(path)["a10"] == {"x": 1}


@pytest.mark.parametrize("text", ["&a [*a]", "[" * 2_000, "2026-13-01"])
def test_an_options_value_that_is_no_yaml_is_a_text(text: str) -> None:
    assert read_value(text) == text
