"""Arrow's file systems whose creation fails first, as that of an ``s3://`` bucket without a network."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from pyarrow import fs

AWAY = "When resolving region for bucket 'ours': AWS Error NETWORK_CONNECTION during HeadBucket operation"


def fail_from_uri(monkeypatch: pytest.MonkeyPatch, errors: Sequence[Exception]) -> list[str]:
    """Let the first calls of `FileSystem.from_uri` raise; return the list that all asked places enter."""
    left, asked, create = list(errors), [], fs.FileSystem.from_uri

    def from_uri(place: str) -> tuple[fs.FileSystem, str]:
        asked.append(place)
        if left:
            raise left.pop(0)
        monkeypatch.setattr("pyarrow.fs.FileSystem", before)
        return create(place)

    before = fs.FileSystem
    monkeypatch.setattr("pyarrow.fs.FileSystem", SimpleNamespace(from_uri=from_uri))
    return asked
