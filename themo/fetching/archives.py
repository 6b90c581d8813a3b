"""Archives, unpacked whole or not at all.

Files are written under a temporary name beside the folder. A new folder then gets its name in one step. Into
one that exists they are moved one by one, and last of all comes a marker, ``.<archive>.unpacked``. A new
folder has it as well: where it is, all files are, whatever was killed.
"""

from __future__ import annotations

import gzip
import json
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

_DAMAGES = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError)


def unpack(archive: Path, folder: Path, keep: Callable[[str], bool] = lambda _: True) -> None:
    """Unpack regular files; done already if the same archive was and its files are there, by their sizes.

    Files of a folder that exists are replaced where the archive has the same name, and left alone otherwise.
    What `keep` declines is not written, so it may be anything; what it accepts has to be safe.

    Args:
        archive: ``.tar``, ``.tar.gz``, ``.tgz`` or ``.zip``.
        folder: Its parents are made.
        keep: Says which members are wanted, by their names: relative, ``/`` between the parts.

    Raises:
        InputError: `archive` is none, is damaged, or does not fit the disk; a member is a link or a device,
            or leads out of `folder`: `folder` is as before. Or `folder` cannot be written.
    """
    folder = folder.resolve()  # a link may lead to another disk, and the temporary name has to be on the same
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
        raise InputError(f"{archive}: is damaged or cut off: {reason_of(error)}") from error
    except OSError as error:
        reason = error.strerror or reason_of(error)
        raise InputError(f"{archive}: cannot be unpacked into {folder}: {reason}") from error


def is_unpacked(archive: Path, folder: Path) -> bool:
    """Whether `unpack` once ended for an archive of this name, which itself may be gone."""
    return _marker(archive, folder).is_file()


@dataclass(frozen=True)
class _Member:
    """A member of an archive that is no folder.

    Attributes:
        name: As the archive gives it, without ``./``.
        size: Bytes.
        is_file: Not a link or a device.
        open: Its content, from the begin.
    """

    name: str
    size: int
    is_file: bool
    open: Callable[[], IO[bytes]]


@contextmanager
def _open(archive: Path) -> Iterator[list[_Member]]:
    """The members of an archive, for as long as the block lasts."""
    name = archive.name.lower()
    if not name.endswith((".tar", ".tar.gz", ".tgz", ".zip")):
        raise InputError(f"{archive}: must be a .tar, .tar.gz, .tgz or .zip")
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
    """Reads a compressed archive to its end, which finds damage before anything is written."""
    found, last = [], 0
    with track(f"Reading {archive.name}", archive.stat().st_size / MB, "MB") as advance:
        for info in opened:
            advance((file.tell() - last) / MB)
            last = file.tell()
            if not info.isdir():
                content = partial(_tar_content, opened, info)
                found.append(_Member(_plain(info.name), info.size, info.isreg(), content))
    # tarfile takes whatever is no header for the end, and leaves a compressed file's checksum unread
    tape = cast(IO[bytes], opened.fileobj)
    tape.seek(opened.offset)
    if tape.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("its end is missing")
    while tape.read(BLOCK_BYTES):
        pass
    return found


def _tar_content(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], opened.extractfile(info))  # None only for what is no regular file


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> list[_Member]:
    return [
        _Member(
            name=_plain(info.filename),
            size=info.file_size,
            # systems without types of files write none
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
    """A member's name without the ``./`` that some archives begin it with."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _refuse_unsafe(archive: Path, member: _Member) -> None:
    if not member.is_file:
        raise InputError(f"{archive}: {member.name} must be a regular file, but is a link or a device")
    if member.name.startswith("/") or not member.name or ".." in member.name.replace("\\", "/").split("/"):
        raise InputError(f"{archive}: {member.name} must lie in the folder it is unpacked into")


def _marker(archive: Path, folder: Path) -> Path:
    return folder / f".{archive.name}.unpacked"


def _version(archive: Path) -> dict[str, int]:
    """What tells an archive from another of the same name, in bytes and nanoseconds."""
    status = archive.stat()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def _is_done(archive: Path, folder: Path, members: list[_Member]) -> bool:
    try:
        if json.loads(_marker(archive, folder).read_text(encoding="utf-8")) != _version(archive):
            return False
        # of members of one name the last counts
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
