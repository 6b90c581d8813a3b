"""Listing a folder's pictures by name; their content is checked when they are opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from themo.errors import InputError
from themo.image_search.left_out import AVIF_SUFFIXES, FOREIGN_SUFFIXES, HEIF_SUFFIXES, LeftOut
from themo.models.raw_names import RAW_SUFFIXES

SUFFIXES = (
    frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"))
    | HEIF_SUFFIXES
    | AVIF_SUFFIXES
    | RAW_SUFFIXES
    | FOREIGN_SUFFIXES
)
"""Suffixes of pictures; `LeftOut` holds the unsupported ones."""
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of a broken link, or of a file deleted since the listing."""


@dataclass(frozen=True, order=True)
class Stamp:
    """A listed picture; its content counts as unchanged while all attributes are equal.

    The inode is no attribute: exFAT and sshfs assign new ones at each mount.

    Attributes:
        name: Path below the folder, with ``/``; bytes outside UTF-8 as Python's surrogates.
        size: Bytes.
        changed: Time of the last change of the content, nanoseconds; `cp -p` and archives set it.
        touched: Time of the last change of content, name or rights, nanoseconds; programs cannot set it.
    """

    name: str
    size: int
    changed: int
    touched: int


def find_pictures(
    folder: Path, unreadable: Callable[[OSError], None], left_out: LeftOut | None = None
) -> list[Stamp]:
    """List the pictures of a folder and its subfolders, by name.

    Links to files count as files; links to folders are not followed. Names that begin with a dot and special
    files are left out.

    Args:
        folder: Folder to list.
        unreadable: Called for every subfolder that cannot be listed, and for every file whose folder allows
            only listing.
        left_out: Decides which other files are left out, and counts them.

    Raises:
        InputError: The path is no folder, or cannot be listed.
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
        # PTH: making a Path is slower than the stat
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
                found.append(_stamp(place, status))
    return sorted(found)


def is_unchanged(folder: Path, stamp: Stamp) -> bool:
    """Return whether a picture still is as it was listed; True where that cannot be read."""
    try:
        return stamp == _stamp(stamp.name, (folder / stamp.name).stat())
    except OSError as error:
        return error.errno not in _GONE


def _stamp(name: str, status: os.stat_result) -> Stamp:
    return Stamp(name, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def printable(name: str) -> str:
    """Return a file name with replacement characters for bytes outside UTF-8 and control characters."""
    text = readable(name)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def readable(name: str) -> str:
    """Return a file name as Unicode, with replacement characters for bytes outside UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def _what(folder: Path) -> str:
    return "got a file" if folder.exists() else "it does not exist"
