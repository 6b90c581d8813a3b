"""All that is written has the rights that the umask leaves, as of any other file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from themo.export.exporting import export_version
from themo.export.source import Source


@pytest.fixture(params=[0o002, 0o022, 0o027], ids="{:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def others_than(umask: int, folder: Path) -> dict[str, str]:
    """Rights of what has others than the umask leaves."""
    found = {}
    for path in folder.rglob("*"):
        rights, expected = path.stat().st_mode & 0o777, (0o777 if path.is_dir() else 0o666) & ~umask
        if rights != expected:
            found[str(path.relative_to(folder))] = oct(rights)
    return found


def test_version_cache_and_export(umask: int, version: Callable[..., Path], tmp_path: Path) -> None:
    folder = version()
    export_version(Source.open(folder), "transformers", tmp_path / "exported")
    for name in ("logs", "cache", "exported"):
        assert any((tmp_path / name).rglob("*"))
        assert others_than(umask, tmp_path / name) == {}
