"""README and docs: links lead somewhere, named files exist, commands are ones that the program takes."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from contextlib import redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from documents import DOCS, PAGES, PROJECT, anchors, inline_code, links, name_of, prose, text_of

from themo.cli import main as cli
from themo.cli.commands import NAMES
from themo.cli.main import parse

EXPERIMENTS = sorted(path for path in (DOCS / "experiments").glob("*.md") if path.name != "index.md")

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if page.is_relative_to(DOCS):
            assert target.is_relative_to(DOCS), f"{link} leaves the site"
        if anchor:
            assert anchor in anchors(target), link


@each_page
def test_backticks_and_fences_are_closed(page: Path) -> None:
    assert text_of(page).count("\n```") % 2 == 0
    assert prose(page).count("`") % 2 == 0


def test_readme_has_less_than_7000_characters() -> None:
    assert len(text_of(PROJECT / "README.md")) < 7_000


def test_menu_lists_every_page() -> None:
    project = tomllib.loads((PROJECT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    listed = list(_leaves(project["nav"]))
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES if page.is_relative_to(DOCS)}
    experiments = {path.relative_to(DOCS).as_posix() for path in EXPERIMENTS}
    assert sorted(listed) == sorted(pages - experiments)


def _leaves(nav: Any) -> Any:
    match nav:
        case str():
            yield nav
        case list() | dict():
            for item in nav if isinstance(nav, list) else nav.values():
                yield from _leaves(item)


@pytest.mark.parametrize("index", [PROJECT / "EXPERIMENTS.md", DOCS / "experiments/index.md"], ids=name_of)
def test_each_experiment_is_indexed_once(index: Path) -> None:
    listed = [Path(link).name for link in links(index) if not link.endswith("index.md")]
    assert sorted(listed) == [path.name for path in EXPERIMENTS]


def test_experiments_are_listed_newest_first() -> None:
    rows = re.findall(r"^\| (\d{4}-\d\d-\d\d) \| \[", text_of(PROJECT / "EXPERIMENTS.md"), re.MULTILINE)
    assert len(rows) == len(EXPERIMENTS)
    assert rows == sorted(rows, reverse=True)


OF_USERS = ("data/", "logs/")
"""Folders that commands fill."""


@each_page
def test_named_files_exist(page: Path) -> None:
    named = [code for code in inline_code(page) if re.fullmatch(r"[.\w-]+(/[.\w-]+)*(/|\.\w+)", code)]
    folders = {path.name for path in PROJECT.iterdir() if path.is_dir()}
    for path in named:
        if path.partition("/")[0] in folders and "/" in path and not path.startswith(OF_USERS):
            assert (PROJECT / path).exists(), path


def test_every_folder_is_in_the_architecture() -> None:
    page, modules = text_of(DOCS / "architecture.md"), text_of(DOCS / "modules.md")
    drawing = (DOCS / "rooms.svg").read_text(encoding="utf-8")
    for package in ("themo", "tune"):
        folders = [path.parent for path in (PROJECT / package).glob("*/__init__.py")]
        assert folders
        for folder in folders:
            assert f"`{package}/{folder.name}/`" in page
            assert f"::: {package}.{folder.name}\n" in modules
            assert f">{folder.name}/<" in drawing


def test_every_module_is_on_the_page_of_modules() -> None:
    modules: dict[str, set[str]] = {}
    for path in [*(PROJECT / "themo").rglob("*.py"), *(PROJECT / "tune").rglob("*.py")]:
        if path.name != "__init__.py":
            package = ".".join(path.relative_to(PROJECT).parent.parts)
            modules.setdefault(package, set()).add(path.stem)
    page = text_of(DOCS / "modules.md")
    entries = dict(re.findall(r"^::: ([\w.]+)\n((?: .*\n)+)", page, re.MULTILINE))
    assert entries.keys() == modules.keys()
    for package, options in entries.items():
        assert "summary: {modules: true}" in options, package
        named = re.search(r"members: \[(.*)\]", options)  # without it, all members
        assert named is None or set(named[1].split(", ")) == modules[package], package


@pytest.mark.parametrize("page", [PROJECT / "EXPERIMENTS.md", *EXPERIMENTS], ids=name_of)
def test_cited_commits_are_in_the_history(page: Path) -> None:
    cited = [word for word in re.findall(r"\b[0-9a-f]{7,40}\b", prose(page)) if re.search("[a-f]", word)]
    if not cited:
        return
    git = ["git", "-C", str(PROJECT)]
    with suppress(FileNotFoundError):
        shallow = subprocess.run(
            [*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True
        )
        if shallow.stdout.strip() == "false":
            for commit in cited:
                found = subprocess.run(
                    [*git, "merge-base", "--is-ancestor", commit, "HEAD"], capture_output=True
                )
                assert found.returncode == 0, commit
            return
    pytest.skip("needs git and the whole history")


COMPLETED = {
    "train --config": "train --config best.yaml",
    "why NAME TRIAL": "why NAME 3",
    "search --serve": "search --serve --images F",
    "test --report": "test --report --version-path VERSION",
    "test --version-path": "test --version-path VERSION",
    "tune --num-samples 32 --search-seed S": "tune --num-samples 32 --search-seed 1",
    "export --format F": "export --version-path VERSION --format onnx --output F",
    "export --format open_clip": "export --version-path VERSION --format open_clip --output F",
    "export --format onnx --int8": "export --version-path VERSION --format onnx --int8 --output F",
    "export --format mlflow": "export --version-path VERSION --format mlflow --output F",
    "export --format mlflow --register NAME": (
        "export --version-path VERSION --format mlflow --output F --register NAME"
    ),
}
"""Parts of commands in the text, and a whole command of each."""


def commands_in_text(page: Path) -> list[str]:
    """Commands in backticks, without `python -m themo`; those with a placeholder for the command left out."""
    found = [re.sub(r"^.*python -m themo ", "", code) for code in inline_code(page)]
    return [code for code in found if len(code.split()) > 1 and code.split()[0] in NAMES]


@each_page
def test_commands_in_the_text_are_parsed(page: Path) -> None:
    for command in commands_in_text(page):
        words = shlex.split(COMPLETED.get(command, command))
        if "--help" in words:
            assert help_of(*words[:-1])
        else:
            assert parse(words).command == words[0]


OF_OTHER_PROGRAMS = {
    *("--scale", "--rm", "--detach", "--no-deps", "--num-gpus", "--filename"),
    *("--constraint", "--editable", "--generate", "--unset"),  # uv, ray and env
    *("--rounds", "--seed", "--search-seeds", "--beto", "--tatoeba", "--folder"),  # benchmarks
    *("--pictures", "--indexes", "--without-refusals", "--worlds", "--publish"),  # benchmarks, too
}


def test_options_in_the_text_exist() -> None:
    known = set(re.findall(r"--[a-z][a-z0-9-]*", "".join(map(help_of, NAMES)) + help_of()))
    code = [code for page in PAGES for code in inline_code(page)]
    named = {option for text in code for option in re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", text)}
    assert len(named) > 50
    assert named - known <= OF_OTHER_PROGRAMS


def test_the_menu_of_commands_is_whole() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \|", text_of(DOCS / "commands.md"), re.MULTILINE)
    assert sorted(rows) == sorted(NAMES)


def help_of(*command: str) -> str:
    with pytest.raises(SystemExit), redirect_stdout(StringIO()) as out:
        parse([*command, "--help"])
    return out.getvalue()


@pytest.mark.parametrize("name", [None, *NAMES])
def test_examples_of_the_help_are_parsed(name: str | None) -> None:
    module = cli if name is None else import_module(f"themo.cli.commands.{name}")
    lines = [line for line in module.EXAMPLES.replace("\\\n", "").splitlines() if line.startswith("  ")]
    assert lines
    for line in lines:
        words = shlex.split(re.split(r"\bthemo ", line, maxsplit=1)[1].partition(">")[0].partition(")")[0])
        assert parse(words).command == words[0]
        assert name in (None, words[0])
