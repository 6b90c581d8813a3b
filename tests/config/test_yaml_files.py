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


@pytest.mark.parametrize("text", ["&a [*a]", "[" * 2_000, "2026-13-01"])
def test_an_options_value_that_is_no_yaml_is_a_text(text: str) -> None:
    assert read_value(text) == text
