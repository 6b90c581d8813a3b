"""The folder of an export, written atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from themo.errors import InputError
from themo.files.atomic import put_in_place, unfinished


def refuse_taken(output: Path) -> None:
    """Refuse an output folder that is not empty or cannot be replaced.

    Raises:
        InputError: The folder is not empty, is no folder, or is a mount point.
    """
    if output.is_dir():
        n = sum(1 for _ in output.iterdir())
        if n:
            raise InputError(f"--output {output}: must be an empty or new folder, but has {n} entries")
        if output.resolve().is_mount():
            raise InputError(f"--output {output}: must be a folder below a mount point, got a mount point")
    elif output.exists() or output.is_symlink():
        raise InputError(f"--output {output}: must be an empty or new folder, got a file")


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """Yield an empty folder beside `output`, which replaces `output` at the end of the block or is removed.

    Raises:
        InputError: `output` is not empty, or cannot be written.
    """
    refuse_taken(output)
    output = output.resolve()  # the target of a link is written, the link stays
    with ExitStack() as stack:
        with _naming(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(unfinished(output, f"{os.getpid()}.unfinished"))
        yield folder
        _make_readable(folder)
        refuse_taken(output)
        with _naming(output):
            put_in_place(folder, output, replace=False)


@contextmanager
def _naming(output: Path) -> Iterator[None]:
    """Turn an error of the file system into one that names ``--output``."""
    try:
        yield
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written: {error.strerror}") from None


def _make_readable(folder: Path) -> None:
    """Set file modes by the user's umask: safetensors makes its files unreadable for others."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
