"""Atomic writes of files and folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename it, so that no reader sees a partial file.

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
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def unfinished(folder: Path, suffix: str = "unfinished") -> Iterator[Path]:
    """An empty folder beside another, removed at the end of the block unless `put_in_place` renamed it.

    Args:
        folder: The final folder, in an existing one. One process writes at a time; remains of a killed
            process are removed.
        suffix: Suffix of the temporary name ``.NAME.SUFFIX``; unique per process if several may write at
            once.
    """
    new = folder.with_name(f".{folder.name}.{suffix}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def put_in_place(new: Path, folder: Path, *, replace: bool = True) -> None:
    """Sync a complete folder to disk, and rename it to its place.

    Args:
        new: The complete folder, beside its final path.
        folder: The final path.
        replace: Rename a predecessor as `old_name` says, and remove it last: a reader that comes, or a
            process that dies, between the two renames finds it there. Otherwise `folder` must be missing or
            empty.

    Raises:
        OSError: `folder` is not empty and not to be replaced, or the disk is full.
    """
    sync_below(new)
    old = old_name(folder)
    if replace and folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    _sync(folder.parent)
    if replace:
        shutil.rmtree(old, ignore_errors=True)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder atomically, replacing a previous one.

    Args:
        folder: The final path, in an existing folder.
        write: Writes the content into a given empty folder.
    """
    with unfinished(folder) as new:
        write(new)
        put_in_place(new, folder)


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
