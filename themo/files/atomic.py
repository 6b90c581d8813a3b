"""Atomic writes of files and folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it, so that no reader sees half of it.

    The file is synced before the rename: after a power failure the old or the new text is complete.

    Raises:
        OSError: The write failed; the old file is unchanged.
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
    """Write a folder under a temporary name, then replace its predecessor in two renames.

    Between the two renames the predecessor is ``.NAME.old``. The new folder is synced before the old one is
    removed.

    Args:
        folder: Folder to write.
        write: Fills a given empty folder.
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
    """Return the path of a folder's predecessor during its replacement."""
    return folder.with_name(f".{folder.name}.old")


def sync_below(folder: Path) -> None:
    """Sync all files of a folder, and the folder itself, to disk."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    """Sync a file, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
