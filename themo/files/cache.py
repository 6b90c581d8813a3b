"""What can be computed again, kept by content: a folder an entry, built once, checked when opened.

An entry's name holds a digest of all that its content depends on, so a stale one is never found. It is built
in a folder beside it under a lock and renamed when whole: two processes that want it at once build it once,
and a killed build leaves nothing that is taken for an entry. `manifest.json` lists size and digest of every
file; an entry that does not match it is built again. Contents are read for that once: afterwards size, time
of change and inode of the files are compared with those noted then, as git does with its index.
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
    """Entries below one folder.

    Args:
        folder: Made when the first entry is built.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, kind: str, key: Any) -> bool:
        """Whether an entry is there and whole."""
        return _is_whole(self.folder / f"{kind}-{digest(key)}")

    def entry(self, kind: str, key: Any, build: Callable[[Path], None]) -> Path:
        """Folder of an entry, built by `build` if it is not there or not whole.

        Args:
            kind: First part of the folder's name, for people.
            key: JSON value that determines the content.
            build: Writes the content into the empty folder that it is given.

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
            reason = error.strerror or f"{error} (no space left?)"  # NumPy's own do not say why
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
    """Sixteen hexadecimal digits of a JSON value's SHA-256."""
    text = json.dumps(key, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path) -> str:
    """Digest of names and contents of all files below a folder, the manifest left out."""
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
    with suppress(OSError):  # where nothing can be written, contents are read each time
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
    return entry.with_name(f".{entry.name}.checked")  # beside it: stamps are of this place alone
