"""The student of the miniature's preset, and the miniature's pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from themo.data.sources import Sources
from themo.model import Model, load


def trained_model(logs: Path, seed: int) -> Model:
    """Train the preset's student by the command `train`; return its model."""
    command = [sys.executable, "-m", "themo", "train", "--logs-dir", str(logs), "--seed", str(seed)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return load(logs / "miniature" / "version_0")


def picture_paths(sources: Sources, folder: str) -> list[Path]:
    """Return the pictures of a folder of the miniature, by name."""
    place = Path(sources.resolve(f"miniature:{folder}"))
    return sorted(path for path in place.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
