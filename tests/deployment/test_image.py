"""The image: linted, and made of files that there are. No engine builds it here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "Dockerfile"


def _linter() -> str | None:
    return shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.skipif(_linter() is None, reason="needs hadolint")
def test_the_linter_finds_nothing() -> None:
    linted = subprocess.run([str(_linter()), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_copied_files_exist_and_are_not_ignored() -> None:
    copied = {
        source
        for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
        for source in line.split()
    }
    assert {"themo", "tune", "configs", "requirements.lock", "pyproject.toml"} <= copied
    allowed = re.findall(r"^!(.*?)/?$", (REPOSITORY / ".dockerignore").read_text(), re.MULTILINE)
    assert set(allowed) == copied
    assert all((REPOSITORY / source).exists() for source in copied)


def test_image_runs_as_a_plain_user_with_locked_packages() -> None:
    text = DOCKERFILE.read_text()
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "1000:1000"
    flat = text.replace("\\\n", " ")
    installs = [line for line in flat.splitlines() if "uv pip install" in line]
    assert installs
    assert all("constraint requirements.lock" in line for line in installs)
    assert "://" not in text  # no address of a registry
