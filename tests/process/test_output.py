"""How the commands look on a terminal, in a pipe, and where colours are not wanted."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from themo.process import progress
from themo.process.output import about, activation, duration, listed, print_result, typed

COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7]")
"""The escape sequence of a foreground colour."""


def wide_table() -> Table:
    table = Table()
    for i in range(6):
        table.add_column(f"column {i}")
    table.add_row(*(f"{i}" * 40 for i in range(6)))
    return table


def test_a_table_takes_its_full_width_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_result(wide_table())
    out = capsys.readouterr().out
    assert all("0" * 40 in line and "5" * 40 in line for line in out.splitlines() if "0" * 8 in line)
    assert "\x1b" not in out
    monkeypatch.setenv("COLUMNS", "70")
    print_result(wide_table())
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 70


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_result("Written: es[v2]")
    assert capsys.readouterr().out == "Written: es[v2]\n"


COMMAND = """
from rich.text import Text
from themo.process.output import duration, print_result
from themo.process.progress import console, track
print_result(Text("result", style="green"))
with track("Work", 10, "texts") as advance:
    advance(10)
console.print("said")
"""


WORDS = ("test", "--version-path", f"/logs/it's {'a' * 25}/version_0", "--top", "3", "--sizes", "b" * 30, "c")
COPIED = f"""
from themo.process.output import print_result, typed, with_command
from themo.process.progress import console
print_result(with_command("Test it: ", typed(*{WORDS!r})))
console.print(with_command("w" * 50 + ": ", typed(*{WORDS!r}), console))
print_result(with_command("Short: ", typed("status")))
"""


def on_a_terminal(program: str = COMMAND, **variables: str) -> str:
    """Output of a program on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    environment = inherited | {"TERM": "xterm-256color"} | variables
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait(timeout=300) == 0
    os.close(ours)
    return shown.decode()


def test_colours_on_a_terminal_unless_they_are_not_wanted() -> None:
    shown = on_a_terminal()
    assert COLOUR.search(shown)
    assert "10/10" in shown
    plain = on_a_terminal(NO_COLOR="1")
    assert not COLOUR.search(plain)
    assert "result" in plain
    assert "10/10" in plain  # progress is no colour


def test_no_escapes_in_a_pipe(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", COMMAND], capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    assert done.stderr == "said\n"


def pasted(text: str) -> tuple[str, ...]:
    """The words that a shell reads from a command of Themo."""
    shell = f'python() {{ printf "%s\\0" "$@"; }}\n{text}\n'
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=True)
    return tuple(done.stdout.split("\0")[2:-1])


def test_a_long_command_is_broken_for_pasting_on_a_terminal() -> None:
    shown = on_a_terminal(COPIED).replace("\r\n", "\n")
    assert max(map(len, shown.splitlines())) <= 80
    first, rest = shown.removeprefix("Test it: ").split("w" * 50 + ":\n")
    second, short = rest.split("Short: ")
    assert first.count(" \\\n    ") == 2
    assert pasted(first) == pasted(second) == WORDS
    assert short == "python -m themo status\n"


def test_a_long_command_is_one_line_in_a_pipe() -> None:
    done = subprocess.run([sys.executable, "-c", COPIED], capture_output=True, text=True, check=True)
    command, short = done.stdout.splitlines()
    assert pasted(command.removeprefix("Test it: ")) == WORDS
    assert short == "Short: python -m themo status"
    assert done.stderr.count("\n") == 1


def test_waiting_says_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.waiting("Loading the student"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "told"), [(4.21, "4.2 s"), (59, "59.0 s"), (720, "12 min"), (12_240, "3.4 h")]
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(4.21, "about 4 s"), (32.3, "about 32 s"), (720, "about 12 min")]
)
def test_estimates_have_no_decimals_of_a_second(seconds: float, told: str) -> None:
    assert about(seconds) == told


def test_a_list_breaks_between_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [f"val/width{width}/match@01 0.5000" for width in (32, 64, 128)]
    monkeypatch.setenv("COLUMNS", "80")
    assert listed("Best:   ", parts).splitlines() == [
        "Best:   val/width32/match@01 0.5000, val/width64/match@01 0.5000,",
        "        val/width128/match@01 0.5000",
    ]
    monkeypatch.delenv("COLUMNS")
    assert listed("Best:   ", parts) == f"Best:   {', '.join(parts)}"


def test_commands_name_paths_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "a folder"
    here.mkdir()
    monkeypatch.chdir(here)
    assert typed("test", here / "logs" / "best").endswith(" test logs/best")
    assert typed("test", tmp_path / "logs").endswith(f" test {tmp_path / 'logs'}")
    assert typed("test", str(here)).endswith(f" test '{here}'")


def test_an_environment_that_is_not_active_names_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "my env" / "bin"
    programs.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", str(programs.parent))
    monkeypatch.setenv("PATH", str(programs))
    assert activation() is None, "no virtual environment"
    (programs / "activate").touch()
    assert activation() == "source 'my env/bin/activate'"
    (programs / "python").touch(mode=0o755)
    assert activation() is None, "active"
