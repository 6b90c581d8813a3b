"""What a shell offers when `themo` is completed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from themo.cli.main import main

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
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        [bash, "--norc", "-c", SCRIPT, "bash", line],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert {word.strip() for word in done.stdout.splitlines()} == expected
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert "themo" in out
    assert "_ARGCOMPLETE" in out
    assert err == ""


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "argument shell: invalid choice: 'tcsh'" in capsys.readouterr().err
