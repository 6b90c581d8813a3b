"""Storage of the trials' checkpoints: a folder or a URI (``s3://``, ``gs://``), by Arrow's file systems."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from themo.errors import InputError, reason_of
from themo.files.atomic import sync_below
from themo.files.disk_space import is_full, retry, warn_of_waiting

if TYPE_CHECKING:
    from pyarrow import fs

T = TypeVar("T")

SESSION_PREFIX = "session-"
TRIAL_PREFIX = "trial-"
CONFIRMATION_PREFIX = "confirms-"
"""Begins the folder of a run of the confirmation; in older searches `TRIAL_PREFIX` does."""

_CHECKPOINT_PARTS = ((SESSION_PREFIX,), (TRIAL_PREFIX, CONFIRMATION_PREFIX), ("checkpoint_",))
_CHECKPOINT_DEPTH = len(_CHECKPOINT_PARTS)

_UNREACHABLE = ("AWS Error NETWORK_CONNECTION", "AWS Error REQUEST_TIMEOUT", "AWS Error SERVICE_UNAVAILABLE")
"""Parts of Arrow's messages, which have no error number (`S3ErrorToString` in Arrow's ``s3_internal.h``)."""


@dataclass(frozen=True)
class Storage:
    """A folder or bucket that the driver and every worker reach by the same name.

    Attributes:
        place: An absolute path, or a URI; its query (``?...``) holds settings of the file system.
    """

    place: str

    @classmethod
    def named(cls, place: str, *, waits: bool = False) -> Storage:
        """The storage that a user named; a relative folder lies below the working directory.

        Args:
            place: A folder or a URI.
            waits: Whether to wait, with a warning, while the storage is unreachable.

        Raises:
            InputError: The name is neither a folder nor a URI that Arrow knows, the URI holds keys, or the
                storage is unreachable and this does not wait.
        """
        if "://" in place and urlsplit(place).netloc.rpartition("@")[0] not in ("", "anonymous"):
            raise InputError(
                "--storage-path must not contain keys, because the search records it: set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS, on all "
                "machines instead"
            )
        if "://" in place and not urlsplit(place).netloc and urlsplit(place).scheme != "file":
            raise InputError(f"--storage-path must name a bucket, as in s3://BUCKET/FOLDER, got {place!r}")
        storage = cls(place if "://" in place else str(Path(place).resolve()))
        try:
            if waits:
                storage.retry_until_reachable(lambda: storage.filesystem)
            storage.filesystem  # noqa: B018 -- created at first access
        except (ValueError, OSError) as error:
            if is_unreachable(error):
                raise InputError(f"--storage-path {place}: is unreachable: {reason_of(error)}") from None
            raise InputError(
                f"--storage-path must be a folder or a URI such as s3://BUCKET/FOLDER, got {place!r}: "
                f"{reason_of(error)}"
            ) from None
        return storage

    def __truediv__(self, part: str) -> Storage:
        """A subfolder of the storage."""
        if "://" not in self.place:
            return Storage(f"{self.place}/{part}")
        uri = urlsplit(self.place)
        return Storage(uri._replace(path=f"{uri.path.rstrip('/')}/{part}").geturl())

    @cached_property
    def filesystem(self) -> fs.FileSystem:
        """Arrow's file system; its first use looks up the region of an ``s3://`` bucket on the network."""
        return self._resolved[0]

    @cached_property
    def root(self) -> str:
        """Path of the storage within its file system."""
        return self._resolved[1]

    @cached_property
    def _resolved(self) -> tuple[fs.FileSystem, str]:
        from pyarrow import fs

        filesystem, root = fs.FileSystem.from_uri(self.place)
        return filesystem, root.rstrip("/")

    def folders(self) -> list[str]:
        """Names of the folders directly in the storage; none if it does not exist yet."""
        deeper = (parts for info, parts in self._below(self.root) if not info.is_file or len(parts) > 1)
        return sorted({parts[0] for parts in deeper})

    def checkpoints(self) -> set[str]:
        """Paths of all checkpoints of all sessions and trials, complete or not."""
        found: set[str] = set()
        for info, parts in self._below(self.root):
            folders = parts[:-1] if info.is_file else parts
            if len(folders) >= _CHECKPOINT_DEPTH and all(map(str.startswith, folders, _CHECKPOINT_PARTS)):
                found.add("/".join(folders[:_CHECKPOINT_DEPTH]))
        return found

    def fetch(self, path: str, folder: Path) -> None:
        """Copy a folder of the storage to a new folder on this machine."""
        from pyarrow import fs

        folder.mkdir(parents=True)
        fs.copy_files(
            f"{self.root}/{path}",
            str(folder),
            source_filesystem=self.filesystem,
            destination_filesystem=fs.LocalFileSystem(),
        )

    def retry_until_reachable(self, work: Callable[[], T]) -> T:
        """Call `work` on the driver; retry, with a warning, while the storage is full or unreachable.

        Raises:
            OSError: The work fails although the storage answers and has space.
        """
        return wait_for_storage(work, self.is_reachable, warn_of_waiting)

    def is_reachable(self) -> bool:
        """Whether the storage is reachable now."""
        try:
            filesystem, root = self._resolved
        except OSError as error:
            return not is_unreachable(error)
        return answers(filesystem, root)

    def sync(self, path: str) -> None:
        """Flush a folder of a local storage to the disk, since Arrow only copies into the page cache.

        In a shared folder, files of another machine may be invisible or unreadable here; they are skipped.

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
        """Remove a folder of the storage, if it exists."""
        from pyarrow import fs

        if self.filesystem.get_file_info(f"{self.root}/{path}").type != fs.FileType.NotFound:
            with suppress(FileNotFoundError):  # Google has no folders: this one went with its files
                self.filesystem.delete_dir(f"{self.root}/{path}")

    def remove_loose_files(self, path: str) -> None:
        """Remove the files in a folder and directly in its subfolders, then its empty subfolders."""
        below = self._below(f"{self.root}/{path}")
        for info, parts in below:
            if info.is_file and len(parts) <= 2:
                self.filesystem.delete_file(info.path)
        kept = {parts[0] for info, parts in below if len(parts) > 2 or (len(parts) > 1 and not info.is_file)}
        for info, parts in below:
            if len(parts) == 1 and not info.is_file and parts[0] not in kept:
                self.filesystem.delete_dir(info.path)

    def _below(self, path: str) -> list[tuple[fs.FileInfo, list[str]]]:
        """All files and folders below a folder, with the parts of their relative paths.

        One listing, since each is a round trip in a bucket, and Google lists only folders created by name.
        """
        from pyarrow import fs

        selector = fs.FileSelector(path, allow_not_found=True, recursive=True)
        found = self.filesystem.get_file_info(selector)
        return [(info, info.path.removeprefix(f"{path}/").split("/")) for info in found]


def is_unreachable(error: Exception) -> bool:
    """Whether an error of Arrow means that a storage is unreachable."""
    return isinstance(error, OSError) and any(name in str(error) for name in _UNREACHABLE)


def answers(filesystem: fs.FileSystem, path: str) -> bool:
    """Whether a storage is reachable now."""
    try:
        filesystem.get_file_info(path)
    except OSError:
        return False
    return True


def wait_for_storage(work: Callable[[], T], is_there: Callable[[], bool], waits: Callable[[str], None]) -> T:
    """Call `work`; retry while the storage is full or unreachable.

    Args:
        work: Reads or writes; may be called many times.
        is_there: Returns whether the storage answers.
        waits: Called now and then with the reason of the wait.

    Raises:
        OSError: The work fails although the storage answers and has space.
    """

    def reason_to_wait(error: Exception) -> str | None:
        if not isinstance(error, OSError):
            return None
        if is_full(error):
            return f"space on a full disk: {reason_of(error)}"
        if not is_unreachable(error) and is_there():
            return None
        return f"the storage: {reason_of(error)}"

    return retry(work, reason_to_wait, waits)
