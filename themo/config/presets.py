"""The files of `configs/`, packaged with Themo: presets by name, and search spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from themo.config.yaml_files import read_yaml
from themo.errors import InputError, did_you_mean

DEFAULT_PRESET = "miniature"

MINIATURE = f"{DEFAULT_PRESET}:"
"""Prefix of names of files in the miniature."""

_SPACE = "search"


def presets() -> dict[str, Path]:
    """Return the files of the packaged presets by name."""
    found = sorted(_configs().glob("*.yaml"))
    return {path.stem: path for path in found if not path.stem.startswith(_SPACE)}


def space_path(start: Path | None = None) -> Path:
    """Return the search space of a preset, or of the preset it starts from; else the miniature's.

    Args:
        start: File of a preset, or one that starts from a preset; None: the default preset.

    Raises:
        InputError: The file cannot be read, or starts from an unknown preset.
    """
    while start is not None:
        for preset, path in presets().items():
            own = _configs() / f"{_SPACE}-{preset}.yaml"
            if own.exists() and start.exists() and path.samefile(start):
                return own
        name = read_yaml(start).get("preset")
        start = None if name is None else preset_path(name, f"{start}: preset")
    return _configs() / f"{_SPACE}.yaml"


def preset_path(name: Any, source: str = "--preset") -> Path:
    """Return the file of a preset.

    Args:
        name: Name of the preset, as given.
        source: Origin of the name, for messages.

    Raises:
        InputError: The preset is unknown.
    """
    known = presets()
    if not isinstance(name, str) or name not in known:
        hint = did_you_mean(name, known) if isinstance(name, str) else ""
        raise InputError(f"{source} must be one of {', '.join(known)}, got {name!r}{hint}")
    return known[name]


def _configs() -> Path:
    # inside an installed package, beside the package in a checkout
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir())
