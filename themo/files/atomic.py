"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it, so that no reader sees half of it.

    It is on the disk by then: where power fails just after, either text is whole.

    Raises:
        OSError: As from any write; what stood there before stands there still.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder under a temporary name; then it takes the place of its predecessor in two renames.

    A reader that comes, or a process that dies, between the two finds the predecessor as ``.NAME.old``.
    The new one is on the disk before the old one goes.

    Args:
        folder: To be there in the end.
        write: Fills the empty folder that it is given.
    """
    new, old = folder.with_name(f".{folder.name}.new"), old_name(folder)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    write(new)
    sync_below(new)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def old_name(folder: Path) -> Path:
    """Where the predecessor of a folder lies while it is replaced."""
    return folder.with_name(f".{folder.name}.old")


def sync_below(folder: Path) -> None:
    """Bring all files of a folder to the disk, and the folder itself."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
