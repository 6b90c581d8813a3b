"""Finding the version or search of a command: by path, by the search's name, or the newest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from themo.config.settings import Settings, load
from themo.errors import InputError, did_you_mean
from themo.process.progress import console

VERSION_HELP = (
    "version directory of the student, or a search's name for its best version (the newest version)"
)
"""Help of ``--version-path``."""

_VERSION_FILE = "config.yaml"
_SEARCH_FILE = "search.yaml"
"""File name from `tune.study.search`, which only the commands of searches import."""
_BEST = "best"


def is_version(folder: Path) -> bool:
    """Whether a folder is a version directory."""
    return (folder / _VERSION_FILE).is_file()


def is_search(folder: Path) -> bool:
    """Whether a folder is a search directory."""
    return (folder / _SEARCH_FILE).is_file()


def find_run(given: Path, logs_dir: Path) -> Path:
    """Find the version or search directory that a user means.

    Args:
        given: Path of a version or search, or name of a search.
        logs_dir: Parent of the named searches: ``logs_dir/tune/NAME``.

    Returns:
        A version or search directory; a path takes precedence over a name. `given` unchanged if it is
        neither.
    """
    places = [given, logs_dir / "tune" / given] if len(given.parts) == 1 else [given]
    return next((place for place in places if is_version(place) or is_search(place)), given)


def find_version(
    given: Path | None, paths: Mapping[str, Any], purpose: str, fits: Callable[[Path, Settings], bool]
) -> Path:
    """Find the version directory of a command; print it if the user did not name it.

    Args:
        given: Path of a version; path or name of a search, for its best version; None: the newest version.
        paths: Settings by leaf name; ``logs_dir`` is searched, ``experiment`` limits the search for the
            newest.
        purpose: Purpose of the version for messages, such as ``"to search with"``.
        fits: Whether a version may be the newest one; an `InputError` means no.

    Raises:
        InputError: There is no such version.
    """
    logs_dir = Path(load(overrides={k: paths[k] for k in ("logs_dir",) if k in paths}).paths.logs_dir)
    if given is None:
        version = _newest(logs_dir, paths.get("experiment"), purpose, fits)
        console.print(f"Version: {version}, the newest (--version-path takes another)")
        return version
    found = find_run(given, logs_dir)
    if is_version(found):
        return found
    if is_search(found):
        if not is_version(found / _BEST):
            raise InputError(
                f"--version-path {given}: the search must have a best version; {found} has none yet"
            )
        console.print(f"Version: {found / _BEST}, the best of this search")
        return found / _BEST
    hint = ""
    if not given.exists() and len(given.parts) == 1:
        names = [folder.parent.name for folder in logs_dir.glob(f"tune/*/{_SEARCH_FILE}")]
        hint = f", and {logs_dir / 'tune'} holds no search of this name{did_you_mean(given.name, names)}"
    raise InputError(f"{given}: must be a version directory, it holds no {_VERSION_FILE}{hint}")


def sees_images(_version: Path, settings: Settings) -> bool:
    """Whether a version has a teacher that sees images."""
    return settings.data.targets is None


def _newest(
    logs_dir: Path, experiment: str | None, purpose: str, fits: Callable[[Path, Settings], bool]
) -> Path:
    """Return the fitting version whose student was written last."""
    students = list(logs_dir.glob(f"{experiment or '*'}/version_*/student"))
    if experiment is None:
        students += logs_dir.glob(f"tune/*/{_BEST}/student")
    for student in sorted(students, key=_written, reverse=True):
        with suppress(InputError):  # damaged
            if fits(student.parent, load(config=student.parent / _VERSION_FILE)):  # without torch
                return student.parent
    raise InputError(
        f"{logs_dir} must hold a version {purpose}, it holds none; "
        "make one with `python -m themo train`, or give --version-path"
    )


def _written(student: Path) -> int:
    try:
        return student.stat().st_mtime_ns
    except OSError:  # a run is replacing the folder
        return 0
