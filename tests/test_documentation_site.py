"""``make docs``: the site is built without a warning, and loads nothing from other hosts."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import DOCS, PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("zensical") is None, reason="needs the extra docs: make docs"
    ),
]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of all that the site is built from."""
    for name in ("docs", "themo", "tune"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("zensical.toml", "CONTRIBUTING.md"):
        shutil.copy(PROJECT / name, tmp_path / name)
    return tmp_path


def build(sources: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)


def test_site_builds_without_warnings_or_external_requests(sources: Path) -> None:
    built = build(sources)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "Warning" not in built.stdout + built.stderr
    pages = list((sources / "site").rglob("*.html"))
    assert len(pages) == len(list(DOCS.rglob("*.md"))) + 1  # and the page of a missing page
    for page in pages:
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?([^\"'> ]+)", html)
        loaded += re.findall(r"<link\b[^>]*rel=[\"']?(?:stylesheet|icon)[^>]*href=[\"']?([^\"'> ]+)", html)
        assert loaded
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)]


@pytest.mark.parametrize(
    "line",
    ["[page](nowhere.md)", "[heading](index.md#nowhere)", "[object][themo.nowhere]", "::: themo.nowhere"],
)
def test_a_broken_reference_fails_the_build(sources: Path, line: str) -> None:
    page = sources / "docs" / "index.md"
    page.write_text(f"{page.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    assert build(sources).returncode != 0
