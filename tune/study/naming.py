"""The name of a new search: its directory, made and held by one process before anything else is done.

`status` sees the directory from then on, and two searches that begin in the same second get two names. Making
a directory is atomic, on shared disks too. A process that dies before ``search.yaml`` is written leaves a
directory that the next search of this name takes.
"""

from __future__ import annotations

import itertools
import re
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType

from filelock import FileLock

from themo.config.settings import Settings
from themo.errors import InputError
from themo.files.locks import is_locked, try_lock

SEARCH_FILE = "search.yaml"
STUDY_FILE = "study.json"
LOCK_FILE = ".lock"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HALF_MADE = re.compile(rf"{re.escape(LOCK_FILE)}|\.?({SEARCH_FILE}|{STUDY_FILE})(\.\d+\.tmp)?")
"""Files of a directory whose ``search.yaml`` was never written."""


class Place:
    """The directory of a new search, which no other process takes; a context that ends when it is made.

    Where the context ends without a ``search.yaml``, the directory is removed and its name is free again.

    Attributes:
        folder: The directory; its name is the search's.
    """

    def __init__(self, folder: Path, lock: FileLock, made: list[Path]) -> None:
        self.folder = folder
        self._lock = lock
        self._made = made

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._lock.is_locked:
            return
        if not (self.folder / SEARCH_FILE).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            for parent in self._made:
                with suppress(OSError):  # another search began there meanwhile
                    parent.rmdir()
        self._lock.release()


def reserve(name: str | None, settings: Settings) -> Place:
    """The directory of a new search, made.

    Args:
        name: Of the search; None: the date and time, with a number behind it where that is taken.
        settings: With the directory of logs.

    Raises:
        InputError: The name is taken or not a directory's, or the directory cannot be written.
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


def _reserve_default(settings: Settings) -> Place:
    now = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        place = _take(search_folder(now if number == 1 else f"{now}-{number}", settings))
        if place is not None:
            return place
    raise AssertionError("a count has no end")


def _take(folder: Path) -> Place | None:
    """A directory of which no search is made or being made, held; None where there is one."""
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
    return Place(folder, lock, made)


def search_folder(name: str, settings: Settings, asked_by: str = "--name") -> Path:
    """Directory of a search; `asked_by` is what a refusal names.

    Raises:
        InputError: The name cannot be a directory's.
    """
    if not _NAME.fullmatch(name):
        last = Path(name).name
        hint = f": of a directory, give the last part alone, {last}" if _NAME.fullmatch(last) else ""
        raise InputError(f"{asked_by} must be letters, digits, '.', '_' and '-', got {name!r}{hint}")
    return Path(settings.paths.logs_dir).resolve() / "tune" / name


def is_starting(folder: Path) -> bool:
    """Whether a process is about to make a search in a directory."""
    return not (folder / SEARCH_FILE).exists() and is_held(folder)


def starting(parent: Path) -> list[str]:
    """Names of the searches in a folder that are about to be made."""
    return sorted(path.parent.name for path in parent.glob(f"[!.]*/{LOCK_FILE}") if is_starting(path.parent))


def is_held(folder: Path) -> bool:
    """Whether a process holds a search's lock."""
    return is_locked(folder / LOCK_FILE)
