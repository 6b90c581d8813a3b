"""Finding the version or search of a command: by path, by the search's name, or the newest.

`test`, `export`, `search`, `status` and `report` all resolve their NAME or ``--version-path`` here. The first
three need a version, which is the best one of a search. The last two take either.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from themo.checkpoints.search_parts import place_of_trials
from themo.cli.known_runs import complete_with, versions_and_searches
from themo.cli.options import Parser, path
from themo.config.sections import HIGHER_IS_BETTER
from themo.config.settings import Settings, load
from themo.config.yaml_files import read_yaml
from themo.errors import InputError, did_you_mean
from themo.files.run_folders import (
    BEST_VERSION,
    SEARCH_FILE,
    STUDY_FILE,
    VERSION_FILE,
    is_search,
    is_version,
    passes,
)
from themo.process.progress import console

VERSION_HELP = (
    "version directory of the student, or a search's name for its best version (the newest version)"
)
"""Help of ``--version-path``."""

_N_NAMED = 5
"""Runs beside a missing one that its error names."""


def add_run(parser: Parser, group: Any, about: str) -> None:
    """Add the two ways to name a run: the argument NAME and the option ``--version-path``."""
    name = parser.add_argument("name", nargs="?", metavar="NAME", help=about)
    option = group.add_argument("--version-path", type=path, metavar="VERSION", help="the same as NAME")
    for action in (name, option):
        complete_with(action, versions_and_searches)


def given_run(options: Namespace) -> Path | None:
    """Return the run of a command line; None: no run given, so that the newest applies.

    Raises:
        InputError: NAME and ``--version-path`` are both given.
    """
    if options.name is not None and options.version_path is not None:
        raise InputError(
            f"{options.command}: NAME and --version-path cannot be combined, "
            f"got {options.name!r} and {str(options.version_path)!r}"
        )
    return options.version_path if options.name is None else Path(options.name)


def find_run(given: Path, logs_dir: Path) -> Path:
    """Find a version or search directory by path or name.

    Args:
        given: Path of a version or search, or name of a search.
        logs_dir: Parent of the named searches: ``logs_dir/tune/NAME``.

    Returns:
        A version or search directory; a path takes precedence over a name. `given` unchanged if it is
        neither.
    """
    places = [given, logs_dir / "tune" / given] if len(given.parts) == 1 else [given]
    return next((place for place in places if is_version(place) or is_search(place)), given)


def find_search_or_version(given: Path, logs_dir: Path, folder_of: Callable[[str], Path]) -> Path:
    """Return the directory of the run that a user means, a search's as an absolute path.

    Args:
        given: As in `find_run`.
        logs_dir: As in `find_run`.
        folder_of: Directory of a search by its name, for a name without a search.

    Raises:
        InputError: `given` is a path without a version or a search, or the name of an experiment.
    """
    found = find_run(given, logs_dir)
    if is_version(found):
        return found
    if is_search(found):
        return found.resolve()
    if len(given.parts) > 1 and passes(Path.is_dir, given.parent):
        runs = [path.name for path in sorted(given.parent.iterdir()) if is_version(path) or is_search(path)]
        there_are = f"; known runs: {', '.join(runs[:_N_NAMED])}" if runs else ""
        raise InputError(f"{given}: is neither a version nor a search{there_are}")
    folder = folder_of(str(given))
    if not folder.exists() and (versions := _named_versions(logs_dir / given)):
        raise InputError(f"{given}: is not a search{versions}")
    return folder


def _named_versions(folder: Path) -> str:
    """Return "; its versions: PATH, ..." of an experiment's folder, newest first, or an empty string."""
    if not passes(Path.is_dir, folder):
        return ""
    versions = [path for path in folder.glob("version_*") if is_version(path)]
    versions.sort(key=lambda path: (len(path.name), path.name), reverse=True)
    return f"; its versions: {', '.join(map(str, versions[:_N_NAMED]))}" if versions else ""


def find_newest_run(logs_dir: Path, command: str) -> Path | None:
    """Return the most recently written version or search directory, and print its name; None without any.

    A search is as new as its last report. A damaged one is passed over.

    Args:
        logs_dir: Parent of experiments and of ``tune/``.
        command: The command that takes another name, for the printed line.
    """
    searches = [file.parent for file in logs_dir.glob(f"tune/[!.]*/{SEARCH_FILE}") if _is_readable(file)]
    version = _newest(logs_dir, None, lambda *_: True, with_searches=False)
    times = {
        folder: max(_written(folder / SEARCH_FILE), _written(folder / STUDY_FILE)) for folder in searches
    }
    if version is not None:
        times[version] = _written(version / "student")
    if not times:
        return None
    newest = max(times, key=lambda folder: times[folder])
    said = f"Version: {newest}" if newest == version else f"Search: {newest.name}"
    console.print(f"{said}, the newest ({command} NAME shows another)", soft_wrap=True)
    return newest


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
        version = _newest(logs_dir, paths.get("experiment"), fits)
        if version is None:
            raise InputError(
                f"{logs_dir} must contain a version {purpose}, but has none; "
                "create one with `python -m themo train`, or give --version-path"
            )
        console.print(f"Version: {version}, the newest (--version-path selects another)")
        return version
    found = find_run(given, logs_dir)
    if is_version(found):
        return found
    if is_search(found):
        if not is_version(found / BEST_VERSION):
            so_far = _trials_so_far(found, purpose, fits)
            raise InputError(f"{given}: must be a search that has ended, for its best version; {so_far}")
        console.print(f"Version: {found / BEST_VERSION}, the best of this search")
        return found / BEST_VERSION
    hint = ""
    exists = passes(Path.exists, given)
    if not exists and len(given.parts) == 1:
        names = [folder.parent.name for folder in logs_dir.glob(f"tune/*/{SEARCH_FILE}")]
        hint = f", and {logs_dir / 'tune'} has no search of this name{did_you_mean(given.name, names)}"
        hint += _named_versions(logs_dir / given)
    fault = f"has no {VERSION_FILE}" if exists else "does not exist"
    raise InputError(f"{given}: must be a version directory, but {fault}{hint}")


def _trials_so_far(search: Path, purpose: str, fits: Callable[[Path, Settings], bool]) -> str:
    """Return the path of the best trial's version of a search, or of its trials, in words."""
    place = place_of_trials(search)
    if "://" in place:
        return f"the versions of its trials are at {place}"
    best = _best_of_trials(Path(place), fits)
    return f"its best trial so far: {best}" if best else f"{place} has no version {purpose} yet"


def _best_of_trials(trials: Path, fits: Callable[[Path, Settings], bool]) -> Path | None:
    """Return the fitting version with the best score of a search's trials, or None."""
    from themo.checkpoints.versions import read_summary

    scores = {}
    for student in trials.glob("*/*/*/student"):  # of session, trial and checkpoint
        version = student.parent
        with suppress(InputError, KeyError, TypeError):  # damaged
            settings = load(config=version / VERSION_FILE)
            score = read_summary(version)["best"][settings.objective]
            if fits(version, settings):
                scores[version] = score if HIGHER_IS_BETTER[settings.objective] else -score
    return max(scores, key=lambda version: scores[version], default=None)


def sees_images(_version: Path, settings: Settings) -> bool:
    """Whether a version has a teacher that sees images."""
    return settings.data.targets is None


def _newest(
    logs_dir: Path,
    experiment: str | None,
    fits: Callable[[Path, Settings], bool],
    with_searches: bool = True,
) -> Path | None:
    """Return the fitting version whose student was written last, or None."""
    students = list(logs_dir.glob(f"{experiment or '*'}/version_*/student"))
    if experiment is None and with_searches:
        students += logs_dir.glob(f"tune/*/{BEST_VERSION}/student")
    for student in sorted(students, key=_written, reverse=True):
        with suppress(InputError):  # damaged
            if fits(student.parent, load(config=student.parent / VERSION_FILE)):  # without torch
                return student.parent
    return None


def _is_readable(file: Path) -> bool:
    with suppress(InputError):
        read_yaml(file)
        return True
    return False


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # a run is replacing it, or has not written it yet
        return 0
