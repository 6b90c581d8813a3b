"""The cache of computed results: one folder per entry, keyed by content, built once and checked when opened.

An entry's name holds a digest of all that determines its content, so a stale entry is never found. An entry
is built in a temporary folder under a lock and renamed when complete: concurrent processes build it once, and
a killed build leaves no entry. `manifest.json` lists size and digest of every file; an entry that does not
match is built again. Files are hashed once; afterwards their size, time of change and inode are compared, as
git does with its index.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from themo.errors import InputError
from themo.files.atomic import put_in_place, unfinished, write_text
from themo.files.locks import alone
from themo.process.progress import console

MANIFEST = "manifest.json"


class Cache:
    """A cache in one folder.

    Args:
        folder: Folder of the cache; made for the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, kind: str, key: Any) -> bool:
        """Whether an entry exists and is intact."""
        return _is_whole(self.folder / f"{kind}-{digest(key)}")

    def entry(self, kind: str, key: Any, build: Callable[[Path], None]) -> Path:
        """Return the folder of an entry, built by `build` if it is missing or damaged.

        Args:
            kind: First part of the folder's name.
            key: JSON value that determines the content.
            build: Writes the content into a given empty folder.

        Raises:
            InputError: The folder cannot be written, or the disk is full.
        """
        entry = self.folder / f"{kind}-{digest(key)}"
        if _is_whole(entry):
            return entry
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self.folder / f".{entry.name}.lock"
            with alone(lock, f"{entry}: another process is building it; waiting"):
                if not _is_whole(entry):
                    self._build(entry, key, build)
        except OSError as error:
            reason = error.strerror or f"{error} (no space left?)"  # NumPy's errors give no reason
            raise InputError(f"cache_dir {self.folder}: {kind} cannot be written: {reason}") from error
        return entry

    def _build(self, entry: Path, key: Any, build: Callable[[Path], None]) -> None:
        if entry.exists():
            console.print(f"{entry} is damaged; it is built again")
            shutil.rmtree(entry)  # before, since it may take the space that the new one needs
        with unfinished(entry) as folder:
            build(folder)
            _write_manifest(folder, key)
            put_in_place(folder, entry)


def digest(key: Any) -> str:
    """Return sixteen hexadecimal digits of a JSON value's SHA-256."""
    text = json.dumps(key, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path) -> str:
    """Return a digest of the names and contents of all files of a folder except the manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return digest([[str(path.relative_to(folder)), digest_file(path)] for path in files])


def _write_manifest(folder: Path, key: Any) -> None:
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": digest_file(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = json.dumps({"key": key, "files": files}, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(manifest, encoding="utf-8")


def _is_whole(entry: Path) -> bool:
    try:
        files = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))["files"]
        stamps = {name: _stamp(entry / name) for name in (MANIFEST, *files)}
        if any(stamps[name][0] != recorded["bytes"] for name, recorded in files.items()):
            return False
        if stamps == _read_stamps(entry):
            return True
        if any(digest_file(entry / name) != recorded["sha256"] for name, recorded in files.items()):
            return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    with suppress(OSError):  # in a read-only cache, files are hashed each time
        write_text(_stamps_file(entry), json.dumps(stamps))
    return True


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _read_stamps(entry: Path) -> object:
    try:
        return json.loads(_stamps_file(entry).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _stamps_file(entry: Path) -> Path:
    return entry.with_name(f".{entry.name}.checked")  # outside the entry: stamps hold only for this machine
