"""Unpacking of archives, completely or not at all.

Files are written into a temporary folder beside the target. A new target is renamed from it in one step.
Files for an existing target are moved one by one. The marker ``.<archive>.unpacked`` is written last, also in
a new target: if it exists, all files exist, even after a kill.
"""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal, cast

from themo.errors import InputError, reason_of
from themo.files.atomic import put_in_place, unfinished
from themo.files.locks import alone
from themo.process.progress import track

BLOCK_BYTES = 1 << 20
MB = 1e6

_KINDS = (".tar", ".tar.gz", ".tgz", ".zip")
_DAMAGES = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeDecodeError,
    NotImplementedError,  # a zip file of a future version
)


def unpack(archive: Path, folder: Path, keep: Callable[[str], bool] = lambda _: True) -> None:
    """Unpack the regular files of an archive, unless this was done and the files have the right sizes.

    Files of an existing folder are replaced if the archive has the same name, and kept otherwise. Members
    that `keep` accepts must be safe; others are not written.

    Args:
        archive: ``.tar``, ``.tar.gz``, ``.tgz`` or ``.zip``.
        folder: Folder of the files; its parents are made.
        keep: Returns whether to unpack a member, by its relative name with ``/``.

    Raises:
        InputError: The archive is of another kind, damaged, or too large for the disk, or a member is a link
            or a device or lies outside `folder`: `folder` stays unchanged. Or `folder` cannot be written.
    """
    folder = folder.resolve()  # the temporary folder must be on the disk that a link leads to
    try:
        with _open(archive) as contents:
            members = [member for member in contents if keep(member.name)]
            for member in members:
                _refuse_unsafe(archive, member)
            folder.parent.mkdir(parents=True, exist_ok=True)
            lock = folder.parent / f".{folder.name}.lock"
            with alone(lock, f"{folder}: another process is unpacking into it; waiting"):
                if not _is_done(archive, folder, members):
                    _unpack(archive, members, folder)
    except _DAMAGES as error:
        raise InputError(f"{archive}: is damaged or truncated: {reason_of(error)}") from error
    except OSError as error:
        reason = error.strerror or reason_of(error)
        raise InputError(f"{archive}: cannot be unpacked into {folder}: {reason}") from error


def refuse_other_kinds(archive: Path, what: object) -> None:
    """Refuse a name that is not one of an archive, before the archive is fetched.

    Args:
        archive: Path of the archive, which need not exist.
        what: File or address for the message.

    Raises:
        InputError: `unpack` does not read such archives.
    """
    if not archive.name.lower().endswith(_KINDS):
        raise InputError(f"{what}: must be a .tar, .tar.gz, .tgz or .zip")


def is_unpacked(archive: Path, folder: Path) -> bool:
    """Whether an archive of this name was unpacked; the archive itself may be deleted."""
    return _marker(archive, folder).is_file()


@dataclass(frozen=True)
class _Member:
    """A member of an archive that is no folder.

    Attributes:
        name: Name in the archive, without ``./``.
        size: Bytes.
        is_file: Whether it is a regular file, no link or device.
        open: Opens its content at the start.
    """

    name: str
    size: int
    is_file: bool
    open: Callable[[], IO[bytes]]


@contextmanager
def _open(archive: Path) -> Iterator[list[_Member]]:
    """Open an archive for a block and yield its members."""
    name = archive.name.lower()
    refuse_other_kinds(archive, archive)
    if not archive.is_file():
        raise InputError(f"{archive}: no such file")
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive) as opened_zip:
            yield _zip_members(archive, opened_zip)
    else:
        mode: Literal["r:", "r:gz"] = "r:" if name.endswith(".tar") else "r:gz"
        with archive.open("rb") as file, tarfile.open(fileobj=file, mode=mode) as opened_tar:
            yield _tar_members(archive, file, opened_tar)


def _tar_members(archive: Path, file: IO[bytes], opened: tarfile.TarFile) -> list[_Member]:
    """List the members; read a compressed archive to its end, to find damage before writing."""
    found, last = [], 0
    with track(f"Reading {archive.name}", archive.stat().st_size / MB, "MB") as advance:
        for info in opened:
            advance((file.tell() - last) / MB)
            last = file.tell()
            if not info.isdir():
                content = partial(_tar_content, opened, info)
                found.append(_Member(_plain(info.name), info.size, info.isreg(), content))
    # tarfile takes any invalid header for the end, and does not check a compressed file's checksum
    tape = cast(IO[bytes], opened.fileobj)
    tape.seek(opened.offset)
    if tape.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("its end is missing")
    while tape.read(BLOCK_BYTES):
        pass
    return found


def _tar_content(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], opened.extractfile(info))  # None only for members that are no regular files


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> list[_Member]:
    return [
        _Member(
            name=_plain(info.filename),
            size=info.file_size,
            # some systems write no file type
            is_file=stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG),
            open=partial(_zip_content, archive, opened, info),
        )
        for info in opened.infolist()
        if not info.is_dir()
    ]


def _zip_content(archive: Path, opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return opened.open(info)
    except (RuntimeError, NotImplementedError) as error:  # a password, or an unknown compression
        raise InputError(f"{archive}: {info.filename} cannot be read: {reason_of(error)}") from error


def _plain(name: str) -> str:
    """Return a member's name without a leading ``./``."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _refuse_unsafe(archive: Path, member: _Member) -> None:
    if not member.is_file:
        raise InputError(f"{archive}: {member.name} must be a regular file, but is a link or a device")
    if "\0" in member.name:
        raise InputError(f"{archive}: {member.name!r} must be a name without a zero byte")
    if member.name.startswith("/") or not member.name or ".." in member.name.replace("\\", "/").split("/"):
        raise InputError(f"{archive}: {member.name} must lie in the folder it is unpacked into")


def _marker(archive: Path, folder: Path) -> Path:
    return folder / f".{archive.name}.unpacked"


def _version(archive: Path) -> dict[str, int]:
    """Return size and time of change of an archive, in bytes and nanoseconds."""
    status = archive.stat()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def _is_done(archive: Path, folder: Path, members: list[_Member]) -> bool:
    try:
        if json.loads(_marker(archive, folder).read_text(encoding="utf-8")) != _version(archive):
            return False
        # of several members with one name the last counts
        sizes = {member.name: member.size for member in members}
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _unpack(archive: Path, members: list[_Member], folder: Path) -> None:
    total = sum(member.size for member in members)
    free = shutil.disk_usage(folder.parent).free
    if total > free:
        raise InputError(
            f"{archive}: needs {total / MB:,.1f} MB in {folder.parent}, where {free / MB:,.1f} MB are free"
        )
    with unfinished(folder) as new:
        with track(f"Unpacking {archive.name}", total / MB, "MB") as advance:
            for member in members:
                path = new / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, path.open("wb") as target:
                    while block := source.read(BLOCK_BYTES):
                        target.write(block)
                        advance(len(block) / MB)
        marker = _marker(archive, new)
        marker.write_text(json.dumps(_version(archive)), encoding="utf-8")
        if folder.exists():
            _merge(new, folder, marker)
        else:
            put_in_place(new, folder)


def _merge(new: Path, folder: Path, marker: Path) -> None:
    files = sorted(path for path in new.rglob("*") if path.is_file() and path != marker)
    (folder / marker.name).unlink(missing_ok=True)
    for path in [*files, marker]:
        target = folder / path.relative_to(new)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
