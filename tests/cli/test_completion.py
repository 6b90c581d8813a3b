"""Completions of `themo` in shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from tiny import write_lines

import themo
from themo.cli.commands.tune import RESOURCES, SCHEDULERS, SEARCHERS
from themo.cli.main import main
from tune.space.search_settings import Resource, SchedulerName, SearcherName

BIN = Path(sys.executable).parent
needs_program = pytest.mark.skipif(not (BIN / "themo").is_file(), reason="needs the installed program")

SCRIPT = """
source <(themo completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_python_argcomplete themo
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.slow  # starts the program twice
@needs_program
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("themo tra", {"train"}),
        ("themo test --base", {"--baseline"}),
        ("themo train --learn-r", {"--learn-rate"}),
        ("themo train --pooling ", {"mean", "first"}),
        ("themo train --preset vit-b", {"vit-b-16-beto", "vit-b-32-beto"}),
        ("themo test --task ret", {"retrieval"}),
        ("themo train --seed ", {""}),  # a number, no file
        ("themo train --config own", {"own.yaml"}),
        ("themo completion ", {"bash", "fish", "zsh", "--help"}),
    ],
)
def test_bash_offers_commands_options_values_and_files(tmp_path: Path, line: str, expected: set[str]) -> None:
    (tmp_path / "own.yaml").touch()
    assert offered_by_bash(SCRIPT, line, tmp_path) == expected


def offered_by_bash(script: str, line: str, folder: Path, **variables: str) -> set[str]:
    """The words that a script's completion of a command line offers in a folder."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    done = subprocess.run(
        [bash, "--norc", "-c", script, "bash", line],
        cwd=folder,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"} | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stderr == ""
    return {word.strip() for word in done.stdout.splitlines()}


MODULE_SCRIPT = """
_own_python() { COMPREPLY=(own); }
complete -F _own_python python
source <(python -m themo completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
COMP_WORDS=($1)
if [[ $1 == *" " ]]; then COMP_WORDS+=(""); fi
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_themo_as_module python
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.slow  # starts the program twice
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python -m themo tune --scheduler ", set(SCHEDULERS)),
        ("python -m themo tune --searcher q", {"quasi-random"}),
        ("python -m themo tune --resume ", {"beto"}),
        ("python -m themo why ", {"beto", "--help", "--logs-dir", "--json"}),
        ("python -m themo search --version-path ", {"beto", "logs/tiny/version_0"}),
        ("python -m themo train --resume ", {"logs/tiny/version_0"}),
        ("python -m themo status --logs-dir other o", {"one"}),
        ("python -m themo export be", {"beto"}),
        ("python -m themo train --preset vit-b", {"vit-b-16-beto", "vit-b-32-beto"}),
        ("python -m http.ser", {"own"}),  # what completed python before
        ("python -m themo", {"own"}),
    ],
)
def test_bash_completes_the_module(tmp_path: Path, line: str, expected: set[str]) -> None:
    for file in (
        "logs/tune/beto/search.yaml",
        "logs/tiny/version_0/config.yaml",
        "other/tune/one/search.yaml",
    ):
        write_lines(tmp_path / file, ["{}"])
    root = str(Path(themo.__file__).parents[1])
    assert offered_by_bash(MODULE_SCRIPT, line, tmp_path, PYTHONPATH=root) == expected


@pytest.mark.slow  # starts the program twice
def test_fish_completes_the_module(tmp_path: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("needs fish")
    environment = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(themo.__file__).parents[1]),
        "HOME": str(tmp_path),
    }
    write_lines(tmp_path / "logs/tune/beto/search.yaml", ["{}"])
    script = "python -m themo completion fish | source; complete -C 'python -m themo status be'"
    done = subprocess.run(
        [fish, "--no-config", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.split() == ["beto"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert "themo" in out
    assert "_ARGCOMPLETE" in out
    assert "python python3" in out
    assert err == ""


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "argument shell: invalid choice: 'tcsh'" in capsys.readouterr().err


def test_names_of_searchers_and_schedulers_are_those_of_a_space() -> None:
    assert get_args(SearcherName) == SEARCHERS
    assert get_args(SchedulerName) == SCHEDULERS
    assert get_args(Resource) == RESOURCES
