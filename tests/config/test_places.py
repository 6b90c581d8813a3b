"""``~`` in settings and options, and paths that are no home."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.cli import main as cli
from themo.cli.options import Parser, path
from themo.config.places import expand_home
from themo.config.settings import Settings, known_leaves, load, option
from themo.errors import InputError

NO_PLACES = {
    "image_column",  # a column's name
    "experiment",
    "language",
    "loss",
    "captions_source",  # addresses
    "xm3600_captions_source",
    "xflickrco_captions_source",
    "images_source",
    "imagenet_source",
}
TOGETHER = {
    "validation_captions": {"validation_images": "x"},
    "validation_images": {"validation_captions": "x"},
    "captions": {"images": "x"},
    "images": {"captions": "x"},
    "xm3600_images": {"xm3600_captions": "x"},
    "xflickrco_images": {"xflickrco_captions": "x"},
    "imagenet": {"prompts": "x", "class_names": None, "templates": None},
    "prompts": {"class_names": None, "templates": None},
    "class_names": {"templates": "x", "prompts": None},
    "templates": {"class_names": "x", "prompts": None},
    "mclip": {"mclip_architecture": "x"},
    "mclip_architecture": {"mclip": "x"},
    "targets": {"validation": None, "validation_captions": None, "validation_images": None},
}


def text_leaves() -> Iterator[str]:
    for leaf, (_, field) in known_leaves().items():
        if field.annotation in (str, str | None) and leaf not in NO_PLACES:
            yield leaf


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("leaf", [*text_leaves()])
def test_each_setting_that_names_a_place_expands_the_home(leaf: str, home: Path) -> None:
    settings = load().override({leaf: "~/x y", **TOGETHER.get(leaf, {})})
    assert settings.leaves()[leaf] == f"{home}/x y"
    assert Settings.model_validate(settings.model_dump(mode="json")) == settings


def test_places_in_a_corpus_keep_their_weights(home: Path) -> None:
    settings = load().override({"corpus": ["~/a.tsv", "2*~/b.tsv", "0.5*talks"]})
    assert settings.data.corpus == (f"{home}/a.tsv", f"2*{home}/b.tsv", "0.5*talks")


def test_the_home_in_a_file_of_settings(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("preset: miniature\npaths: {logs_dir: ~/logs}\n", encoding="utf-8")
    assert load(file).paths.logs_dir == f"{home}/logs"
    file.write_text("preset: miniature\npaths: {logs_dir: ~nobody-here/logs}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"own.yaml: paths.logs_dir: must begin with a known home"):
        load(file)


def options_of_files() -> Iterator[tuple[str, str]]:
    """Every option of every command whose value is a file or folder, and no setting."""
    parser = cli._parser()
    for name, command in parser.commands.items():
        assert isinstance(command, Parser)
        for action in command._actions:
            is_place = (
                action.metavar in ("FILE", "FOLDER", "DIR", "VERSION", "PLACE") or action.dest == "logs_dir"
            )
            if is_place and not action.dest.startswith("setting:"):
                yield name, (action.option_strings or [""])[0]


@pytest.mark.parametrize(("command", "name"), [*options_of_files()])
def test_each_option_that_names_a_place_expands_the_home(command: str, name: str, home: Path) -> None:
    action = _action(cli._parser().commands[command], name)
    assert callable(action.type)
    assert str(action.type("~/x y")) == f"{home}/x y"
    with pytest.raises(argparse.ArgumentTypeError, match="must begin with a known home"):
        action.type("~nobody-here/x")


def _action(parser: Any, name: str) -> argparse.Action:
    found: list[argparse.Action] = [a for a in parser._actions if (a.option_strings or [""])[0] == name]
    return found[0]


def test_no_option_is_read_by_path_alone() -> None:
    for command in cli._parser().commands.values():
        assert not [a.option_strings for a in command._actions if a.type is Path]


def test_options_of_settings_after_an_equals_sign(home: Path) -> None:
    known = cli.parse(["status", "--logs-dir=~/x"])
    assert known.logs_dir == home / "x"
    known = cli.parse(["train", "--logs-dir=~/x", "--cache-dir=~/y"])
    settings = load(overrides=known.settings)
    assert (settings.paths.logs_dir, settings.paths.cache_dir) == (f"{home}/x", f"{home}/y")
    assert option("logs_dir") == "--logs-dir"


def test_a_home_that_is_not_known_is_refused_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--logs-dir=~nobody-here/x"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "Error: argument --logs-dir: must begin with a known home (unknown user 'nobody-here'; "
        "./~nobody-here is a folder of that name), got '~nobody-here/x'"
    )


@given(st.text("a~/.*: 2é", max_size=8))
def test_a_path_without_a_home_is_unchanged(text: str) -> None:
    plain = text.lstrip("~")
    if plain and not plain[0].isdigit():
        assert expand_home(plain) == plain
        assert path(f"./~{plain}") == Path(f"./~{plain}")
