"""Checks of the folders that Ray needs to start a cluster on this machine."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path

from themo.config.places import expand_home
from themo.errors import InputError
from tune.cluster.address import LOCAL

_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Maximum length of the path of a Unix socket, in bytes."""


def refuse_unfit_folders(address: str | None) -> None:
    """Refuse a temporary folder or a home that Ray cannot use, if a cluster is to start on this machine.

    Raises:
        InputError: The path of the temporary folder is too long for sockets, or a folder is not writable.
    """
    if address not in (None, LOCAL):
        return
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), None)
    place = os.environ[variable] if variable else "/tmp"  # noqa: S108 -- Ray's default
    label = variable or "RAY_TMPDIR"
    sockets = f"{place}/ray/session_{datetime.now():%Y-%m-%d_%H-%M-%S_%f}_{os.getpid()}/sockets/plasma_store"
    excess = len(os.fsencode(sockets)) - _LONGEST_SOCKET
    if excess > 0:
        n = len(os.fsencode(place))
        raise InputError(
            f"{label}: must have at most {n - excess} bytes, since Ray puts sockets below it, got {n}: "
            f"{place}; set RAY_TMPDIR to a folder with a shorter path"
        )
    _refuse_unwritable(Path(place) / "ray", label, "Ray keeps the files of its session there", "RAY_TMPDIR")
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return
    try:
        home = expand_home("~")
    except ValueError as error:
        raise InputError(f"HOME: {error}") from None
    _refuse_unwritable(Path(home) / ".ray", "HOME", "Ray keeps its token there", "HOME")


def _refuse_unwritable(folder: Path, label: str, why: str, mend: str) -> None:
    """Refuse a folder that cannot be written or created; creates nothing."""
    above = [folder, *folder.absolute().parents]
    nearest = next(path for path in above if os.path.lexists(path))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"{label}: must be a writable folder, because {why}, got {folder.parent}: set {mend} to another"
        )
