"""The files of `configs/` that come with Themo: presets by name, and the search space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from themo.errors import InputError, did_you_mean

DEFAULT_PRESET = "miniature"


def presets() -> dict[str, Path]:
    """The presets that come with Themo, by name."""
    return {path.stem: path for path in sorted(_configs().glob("*.yaml")) if path != space_path()}


def space_path() -> Path:
    """The search space that comes with Themo."""
    return _configs() / "search.yaml"


def preset_path(name: Any, source: str = "--preset") -> Path:
    """File of a preset.

    Args:
        name: As given.
        source: Where it was given, for messages.

    Raises:
        InputError: There is no such preset.
    """
    known = presets()
    if not isinstance(name, str) or name not in known:
        hint = did_you_mean(name, known) if isinstance(name, str) else ""
        raise InputError(f"{source} must be one of {', '.join(known)}, got {name!r}{hint}")
    return known[name]


def _configs() -> Path:
    # inside the package where it was installed, beside it in a checkout
    package = Path(__file__).parent
    return next(folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir())
