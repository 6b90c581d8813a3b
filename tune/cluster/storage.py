"""Where trials keep their checkpoints: a folder or a URI (``s3://``, ``gs://``), by Arrow's file systems."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from themo.errors import InputError, reason_of
from themo.files import disk_space as room
from themo.files.atomic import sync_below
from themo.files.disk_space import is_full

if TYPE_CHECKING:
    from pyarrow import fs

T = TypeVar("T")

SESSION_PREFIX = "session-"
TRIAL_PREFIX = "trial-"

_CHECKPOINT_PARTS = (SESSION_PREFIX, TRIAL_PREFIX, "checkpoint_")
_CHECKPOINT_DEPTH = len(_CHECKPOINT_PARTS)


@dataclass(frozen=True)
class Storage:
    """A place that the driver and every worker reach by the same name.

    Attributes:
        place: An absolute path, or a URI; what stands behind a ``?`` in it are settings of its file system.
    """

    place: str

    @classmethod
    def named(cls, place: str) -> Storage:
        """The storage that a person named: a relative folder is one below the working directory.

        Raises:
            InputError: It is no folder, and no URI of a file system that Arrow knows, or one that holds keys.
        """
        if "://" in place and urlsplit(place).netloc.rpartition("@")[0] not in ("", "anonymous"):
            raise InputError(
                "--storage-path must hold no keys, since it is written down with the search: set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS, on all "
                "machines instead"
            )
        if "://" in place and not urlsplit(place).netloc and urlsplit(place).scheme != "file":
            raise InputError(f"--storage-path must name a bucket, as in s3://BUCKET/FOLDER, got {place!r}")
        storage = cls(place if "://" in place else str(Path(place).resolve()))
        try:
            storage.filesystem  # noqa: B018 -- made when it is first asked for
        except (ValueError, OSError) as error:
            raise InputError(
                f"--storage-path must be a folder or a URI such as s3://BUCKET/FOLDER, got {place!r}: "
                f"{reason_of(error)}"
            ) from None
        return storage

    def __truediv__(self, part: str) -> Storage:
        """A folder below."""
        if "://" not in self.place:
            return Storage(f"{self.place}/{part}")
        uri = urlsplit(self.place)
        return Storage(uri._replace(path=f"{uri.path.rstrip('/')}/{part}").geturl())

    @cached_property
    def filesystem(self) -> fs.FileSystem:
        """Arrow's file system."""
        return self._resolved[0]

    @cached_property
    def root(self) -> str:
        """The place's path within it."""
        return self._resolved[1]

    @cached_property
    def _resolved(self) -> tuple[fs.FileSystem, str]:
        from pyarrow import fs

        filesystem, root = fs.FileSystem.from_uri(self.place)
        return filesystem, root.rstrip("/")

    def folders(self) -> list[str]:
        """Names of the folders directly in it; none where there is no such place yet."""
        deeper = (parts for info, parts in self._below(self.root) if not info.is_file or len(parts) > 1)
        return sorted({parts[0] for parts in deeper})

    def checkpoints(self) -> set[str]:
        """Paths of the checkpoints in the folders of trials in the folders of sessions, whole or not."""
        found: set[str] = set()
        for info, parts in self._below(self.root):
            folders = parts[:-1] if info.is_file else parts
            if len(folders) >= _CHECKPOINT_DEPTH and all(map(str.startswith, folders, _CHECKPOINT_PARTS)):
                found.add("/".join(folders[:_CHECKPOINT_DEPTH]))
        return found

    def fetch(self, path: str, folder: Path) -> None:
        """Copy a folder of it to a new one of this machine."""
        from pyarrow import fs

        folder.mkdir(parents=True)
        fs.copy_files(
            f"{self.root}/{path}",
            str(folder),
            source_filesystem=self.filesystem,
            destination_filesystem=fs.LocalFileSystem(),
        )

    def when_there(self, work: Callable[[], T]) -> T:
        """Do something with it on the driver, which waits, with a warning, while it is full or away.

        Raises:
            OSError: It answers, has room, and refuses it all the same.
        """
        return wait_for_storage(work, lambda: answers(self.filesystem, self.root), room.warn_of_waiting)

    def sync(self, path: str) -> None:
        """Bring a folder of it to the disk, where that is this machine's: Arrow copies into the cache.

        On a folder that machines share it may not be seen here yet, or not be ours to read: then not.

        Raises:
            OSError: The disk is full.
        """
        from pyarrow import fs

        if not isinstance(self.filesystem, fs.LocalFileSystem):
            return
        try:
            sync_below(Path(self.root) / path)
        except OSError as error:
            if is_full(error):
                raise

    def remove(self, path: str) -> None:
        """Remove a folder of it, if it is there."""
        from pyarrow import fs

        if self.filesystem.get_file_info(f"{self.root}/{path}").type != fs.FileType.NotFound:
            with suppress(FileNotFoundError):  # what lay in it is gone; Google has no folders
                self.filesystem.delete_dir(f"{self.root}/{path}")

    def remove_loose_files(self, path: str) -> None:
        """Remove files in a folder and directly in its folders, then its folders that hold no more."""
        below = self._below(f"{self.root}/{path}")
        for info, parts in below:
            if info.is_file and len(parts) <= 2:
                self.filesystem.delete_file(info.path)
        kept = {parts[0] for info, parts in below if len(parts) > 2 or (len(parts) > 1 and not info.is_file)}
        for info, parts in below:
            if len(parts) == 1 and not info.is_file and parts[0] not in kept:
                self.filesystem.delete_dir(info.path)

    def _below(self, path: str) -> list[tuple[fs.FileInfo, list[str]]]:
        """All that lies below a folder, with the parts of its path from there.

        In one listing: in a bucket each is a round trip, and Google's knows no folders but those that
        somebody made by name.
        """
        from pyarrow import fs

        selector = fs.FileSelector(path, allow_not_found=True, recursive=True)
        found = self.filesystem.get_file_info(selector)
        return [(info, info.path.removeprefix(f"{path}/").split("/")) for info in found]


def answers(filesystem: fs.FileSystem, path: str) -> bool:
    """Whether a storage is there just now, whatever lies in it."""
    try:
        filesystem.get_file_info(path)
    except OSError:
        return False
    return True


def wait_for_storage(work: Callable[[], T], is_there: Callable[[], bool], waits: Callable[[str], None]) -> T:
    """Do something with a storage, again after a while where that is full or away.

    Args:
        work: Reads or writes; may be called many times.
        is_there: Whether the storage answers.
        waits: Called now and then with what is waited for.

    Raises:
        OSError: The storage answers, has room, and refuses it all the same.
    """
    told = -math.inf
    while True:
        try:
            return work()
        except OSError as error:
            if is_full(error):
                reason = f"room on a full disk: {reason_of(error)}"
            elif not is_there():
                reason = f"the storage: {reason_of(error)}"
            else:
                raise
        if time.monotonic() - told >= room.SECONDS_BETWEEN_WARNINGS:
            told = time.monotonic()
            waits(reason)
        time.sleep(room.SECONDS_BETWEEN_TRIES)
