"""Reserves the name of a new search: one process creates and locks its directory before all other work.

From then on `status` shows the search, and two searches that start in the same second get different names.
Creating a directory is atomic, on shared disks too. If a process dies before it writes ``search.yaml``, the
next search of this name takes over the directory.
"""

from __future__ import annotations

import itertools
import re
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from themo.config.settings import Settings
from themo.errors import InputError
from themo.files.locks import is_locked, try_lock
from themo.files.run_folders import SEARCH_FILE, STUDY_FILE

if TYPE_CHECKING:
    from filelock import FileLock

LOCK_FILE = ".lock"
FAILURES_FOLDER = "failures"
"""Folder of the tracebacks of failed trials, one file a trial."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOST_LETTERS = 255
"""Longest name of a folder on common file systems, in bytes."""
_HALF_MADE = re.compile(rf"{re.escape(LOCK_FILE)}|\.?({SEARCH_FILE}|{STUDY_FILE})(\.\d+\.tmp)?")
"""Files of a directory whose ``search.yaml`` was never written."""


class ReservedFolder:
    """Context that holds the lock of a new search's directory until the search is created.

    If the context exits without a ``search.yaml``, the directory is removed and its name is free again.

    Attributes:
        folder: The directory; its name is that of the search.
    """

    def __init__(self, folder: Path, lock: FileLock, made: list[Path]) -> None:
        self.folder = folder
        self._lock = lock
        self._made = made

    def __enter__(self) -> ReservedFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._lock.is_locked:
            return
        if not (self.folder / SEARCH_FILE).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            for parent in self._made:
                with suppress(OSError):  # another search has started there
                    parent.rmdir()
        self._lock.release()


def reserve(name: str | None, settings: Settings) -> ReservedFolder:
    """Create and lock the directory of a new search.

    Args:
        name: Name of the search; None: the date and time, with a number appended if that is taken.
        settings: Settings with the directory of logs.

    Raises:
        InputError: The name is taken or invalid, or the directory cannot be written.
    """
    if name is None:
        return _reserve_default(settings)
    folder = search_folder(name, settings)
    if (place := _take(folder)) is not None:
        return place
    if is_starting(folder):
        raise InputError(
            f"--name: another process is starting a search {name!r} at {folder}: choose another name"
        )
    raise InputError(f"--name: a search {name!r} exists at {folder}: choose another name, or --resume {name}")


def _reserve_default(settings: Settings) -> ReservedFolder:
    now = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        place = _take(search_folder(now if number == 1 else f"{now}-{number}", settings))
        if place is not None:
            return place
    raise AssertionError("a count has no end")


def _take(folder: Path) -> ReservedFolder | None:
    """Create and lock a directory; None if a search exists there or is being created."""
    made = [parent for parent in folder.parents[:2] if not parent.exists()]
    try:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir() or any(not _HALF_MADE.fullmatch(path.name) for path in folder.iterdir()):
                return None
        lock = try_lock(folder / LOCK_FILE)
    except OSError as error:
        raise InputError(f"--name: {folder} cannot be written: {error.strerror}") from None
    if lock is None:
        return None
    if (folder / SEARCH_FILE).exists():  # made by the process that held the lock before
        lock.release()
        return None
    return ReservedFolder(folder, lock, made)


def search_folder(name: str, settings: Settings, asked_by: str = "--name") -> Path:
    """Directory of a search; `asked_by` is the option that an error message names.

    Raises:
        InputError: The name is not a valid directory name.
    """
    if len(name) > _MOST_LETTERS:
        raise InputError(f"{asked_by} must have at most {_MOST_LETTERS} characters, got {len(name)}")
    if not _NAME.fullmatch(name):
        last = Path(name).name
        hint = f": give only the last part of the path, {last}" if _NAME.fullmatch(last) else ""
        raise InputError(f"{asked_by} must be letters, digits, '.', '_' and '-', got {name!r}{hint}")
    return Path(settings.paths.logs_dir).resolve() / "tune" / name


def is_starting(folder: Path) -> bool:
    """Whether a process is creating a search in a directory."""
    return not (folder / SEARCH_FILE).exists() and is_held(folder)


def starting(parent: Path) -> list[str]:
    """Names of the searches in a folder that are being created."""
    return sorted(path.parent.name for path in parent.glob(f"[!.]*/{LOCK_FILE}") if is_starting(path.parent))


def is_held(folder: Path) -> bool:
    """Whether a process holds a search's lock."""
    return is_locked(folder / LOCK_FILE)
