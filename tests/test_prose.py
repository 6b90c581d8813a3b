"""The prose linter of `make check`: codespell with the project's own words and phrases."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import themo

PROJECT = Path(themo.__file__).parents[1]
SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["codespell"]
WORDS = [line.partition("->")[0] for line in (PROJECT / ".prose-words").read_text().splitlines()]


def findings(text: str) -> str:
    command = [sys.executable, "-m", "codespell_lib", "-"]
    done = subprocess.run(command, cwd=PROJECT, input=text, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("word", WORDS)
def test_each_word_of_the_list_is_matched_whole(word: str) -> None:
    assert word.capitalize() in re.findall(SETTINGS["regex"], f"One, two. {word.capitalize()} three.")


def test_words_phrases_and_misspellings_are_found() -> None:
    found = findings('"""What is told to a process."""\n# the run goes on, and what it writes is wierd\n')
    for word in ("What is", "told", "goes on", "what it", "wierd"):
        assert word in found


def test_plain_sentences_and_identifiers_pass() -> None:
    assert findings("The run resumes and reports what the user asked; `n_told` is an identifier.\n") == ""
