"""The folder of an export, written atomically."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from themo.errors import InputError


def refuse_taken(output: Path) -> None:
    """Refuse an output folder that is not empty or cannot be replaced.

    Raises:
        InputError: The folder is not empty, is no folder, or is a mount point.
    """
    if output.is_dir():
        n = sum(1 for _ in output.iterdir())
        if n:
            raise InputError(f"--output {output}: must be an empty or new folder, it holds {n} entries")
        if output.resolve().is_mount():
            raise InputError(f"--output {output}: must be a folder below a mount point, got a mount point")
    elif output.exists() or output.is_symlink():
        raise InputError(f"--output {output}: must be an empty or new folder, got a file")


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """Yield an empty folder beside `output` that replaces it at the end of the block, or is removed.

    Raises:
        InputError: `output` is not empty, or cannot be written.
    """
    refuse_taken(output)
    output = output.resolve()  # a link stays; its target is written
    unfinished = output.with_name(f".{output.name}.{os.getpid()}.unfinished")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        unfinished.mkdir()
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written: {error.strerror}") from None
    try:
        yield unfinished
        _let_read(unfinished)
        refuse_taken(output)
        try:
            unfinished.replace(output)
        except OSError as error:
            raise InputError(f"--output {output}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _let_read(folder: Path) -> None:
    """Set file modes by the user's umask: safetensors makes its files unreadable for others."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
