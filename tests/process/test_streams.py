"""Commands whose standard output is closed, has no reader, is full, or knows few characters."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from themo.cli.main import main
from themo.process.streams import Stream

COMMANDS = {
    "help": ["--help"],
    "text": ["status"],
    "table": ["prepare", "--dry-run", "--offline"],
    "json": ["prepare", "--dry-run", "--offline", "--json", "--captions", "ñandú", "--images", "x"],
    "script": ["completion", "bash"],
}
ASCII = {"PYTHONIOENCODING": "ascii"}
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run(words: list[str], folder: Path, redirection: str = "", **environment: str) -> tuple[int, bytes, str]:
    """Exit code, and what was written on standard output and error, of a command of the shell bash."""
    command = [sys.executable, "-m", "themo", *words]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", *command],  # noqa: S607
        cwd=folder,
        capture_output=True,
        env=os.environ | environment,
    )
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize("words", [COMMANDS["help"], COMMANDS["json"]], ids=["help", "json"])
@pytest.mark.parametrize("redirection", [">&-", "<&- >&- 2>&-", "| true; exit ${PIPESTATUS[0]}"])
def test_without_a_reader_a_command_ends_as_ever(words: list[str], redirection: str, tmp_path: Path) -> None:
    assert run(words, tmp_path, redirection) == (0, b"", "")


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("environment", [ASCII, POSIX], ids=["ascii", "posix"])
def test_few_characters_are_no_error(words: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    code, out, err = run(words, tmp_path, **environment)
    assert (code, err) == (0, "")
    if "--json" in words:
        assert "ñandú" in json.dumps(json.loads(out.decode("utf-8")), ensure_ascii=False)
    else:
        assert out.isascii()


def test_characters_that_a_terminal_lacks_are_written_as_escapes(tmp_path: Path) -> None:
    assert rb'search "dos c\xedrculos rojos"' in run(["--help"], tmp_path, **ASCII)[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("words", [COMMANDS["text"], COMMANDS["json"]], ids=["text", "json"])
def test_a_result_that_cannot_be_written_is_a_failure_in_a_line(words: list[str], tmp_path: Path) -> None:
    failed = "Failed: standard output cannot be written: No space left on device\n"
    assert run(words, tmp_path, "> /dev/full") == (1, b"", failed)


def test_a_closed_descriptor_is_taken_by_no_other_file(tmp_path: Path) -> None:
    script = (
        "import themo.cli.main; themo.cli.main.main(['status']); "
        "print(open('new', 'w').fileno() > 2, file=open('said', 'w'))"
    )
    command = f'"{sys.executable}" -c "{script}" <&- >&- 2>&-'
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)  # noqa: S607
    assert (tmp_path / "said").read_text(encoding="utf-8") == "True\n"


class Gone(io.StringIO):
    """A stream whose writes fail."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, _text: str) -> int:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_without_reader_drops_its_text(name, number: int, monkeypatch) -> None:
    monkeypatch.setattr(sys, name, Gone(number))
    assert Stream(name).write("ñ") == 1


def test_a_full_disk_fails_results_and_loses_the_rest(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdout", Gone(errno.ENOSPC))
    monkeypatch.setattr(sys, "stderr", Gone(errno.ENOSPC))
    assert Stream("stderr").write("a") == 1
    with pytest.raises(OSError, match="standard output cannot be written: No space left"):
        Stream("stdout").write("a")


def test_colons_in_a_path_are_no_emoji(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["status", "--logs-dir", ":smile:"]) == 0
    assert main(["status", "nosuch", "--logs-dir", ":smile:"]) == 2
    out, err = capsys.readouterr()
    assert ":smile:/tune" in out
    assert ":smile:/tune" in err
