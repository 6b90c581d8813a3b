"""The request of an export, which the modules of the formats receive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from themo.export.source import Source


@dataclass(frozen=True)
class Request:
    """An export to write.

    Attributes:
        source: The version.
        output: Final folder of the export.
        sentences: File of sentences to measure on or to learn from; None: the version's own pairs.
        repository: Hub repository of the export; None: not published.
    """

    source: Source
    output: Path
    sentences: Path | None = None
    repository: str | None = None
