"""Which files of a folder are pictures, by name; whether they are by content shows when they are opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from themo.errors import InputError
from themo.image_search.left_out import AVIF_SUFFIXES, FOREIGN_SUFFIXES, HEIF_SUFFIXES, LeftOut

SUFFIXES = (
    frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"))
    | HEIF_SUFFIXES
    | AVIF_SUFFIXES
    | FOREIGN_SUFFIXES
)
"""Of pictures; `LeftOut` knows which of them are not read."""
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""A link that leads nowhere, or a file that went since it was listed."""


@dataclass(frozen=True, order=True)
class Stamp:
    """A picture as a folder lists it: as long as nothing of this changes, its content counts as the same.

    The number of the inode is not among it: exFAT and sshfs give new ones whenever they are mounted.

    Attributes:
        name: Path below the folder, with ``/``; bytes that are no UTF-8 as Python's surrogates.
        size: Bytes.
        changed: Time of the last change of the content, nanoseconds; `cp -p` and archives set it.
        touched: Time of the last change of content, name or rights, nanoseconds, which nobody sets.
    """

    name: str
    size: int
    changed: int
    touched: int


def find_pictures(
    folder: Path, unreadable: Callable[[OSError], None], left_out: LeftOut | None = None
) -> list[Stamp]:
    """The pictures in a folder and all below it, by name.

    A link to a file counts as the file; a link to a folder is not followed, so none is met twice. What begins
    with a dot is left out, and so is what is no ordinary file.

    Args:
        folder: Where to look.
        unreadable: Told of every folder below it that cannot be listed, and of every file in a folder that
            lets names be read and nothing else.
        left_out: Decides what else is left out, and counts it.

    Raises:
        InputError: It is no folder, or it cannot be listed.
    """
    if not folder.is_dir():
        raise InputError(f"--images {folder}: must be a folder, {_what(folder)}")
    found = []
    left_out = left_out or LeftOut()

    def below(path: str) -> str:
        return os.path.relpath(path, folder).replace(os.sep, "/")

    def refuse(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise InputError(f"--images {folder}: cannot be listed: {error.strerror}") from error
        unreadable(error)

    for root, folders, names in os.walk(folder, onerror=refuse):
        # PTH: a Path a file takes longer than its stat
        kept = [name for name in folders if not left_out.holds_folder(below(os.path.join(root, name)))]  # noqa: PTH118
        folders[:] = sorted(kept)
        for name in names:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if name.startswith(".") or suffix not in SUFFIXES:
                continue
            path = os.path.join(root, name)  # noqa: PTH118
            place = below(path)
            if left_out.holds_file(place, suffix):
                continue
            try:
                status = os.stat(path)  # noqa: PTH116
            except OSError as error:
                if error.errno not in _GONE:
                    unreadable(error)
                continue
            if stat.S_ISREG(status.st_mode):
                found.append(Stamp(place, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return sorted(found)


def printable(name: str) -> str:
    """A file's name for people: what is no UTF-8, or would move their cursor, as a replacement character."""
    text = readable(name)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def readable(name: str) -> str:
    """A file's name as Unicode, with a replacement character for what is none."""
    return os.fsencode(name).decode("utf-8", "replace")


def _what(folder: Path) -> str:
    return "it is a file" if folder.exists() else "there is none"
