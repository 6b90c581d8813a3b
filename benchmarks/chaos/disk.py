"""A small disk that can be filled: a tmpfs of fixed size."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

_CHUNK = bytes(1 << 16)


@cache
def why_not() -> str:
    """The reason why no file system can be mounted here; empty if one can."""
    if sys.platform != "linux" or shutil.which("mount") is None:
        return "needs Linux and its mount command"
    if os.geteuid() != 0:
        return "needs root, to mount a file system"
    try:
        with TemporaryDirectory() as folder, SmallDisk(Path(folder), megabytes=1):
            return ""
    except subprocess.CalledProcessError as error:
        return f"cannot mount a file system on this machine: {error.stderr.decode().strip()}"


class SmallDisk:
    """A tmpfs at a folder; use as a context manager.

    Args:
        folder: Mount point; created if missing.
        megabytes: Size of the disk.
    """

    def __init__(self, folder: Path, megabytes: int = 48) -> None:
        self.folder = folder
        self._megabytes = megabytes
        self._ballast = folder / ".ballast"
        self.is_filled = False

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = f"size={self._megabytes}m"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "chaos", str(self.folder)],  # noqa: S607
            check=True,
            capture_output=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)  # noqa: S607

    def fill(self) -> None:
        """Fill the disk; call again after files have been deleted."""
        self.is_filled = True
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while file.write(_CHUNK) == len(_CHUNK):
                pass

    def free(self) -> None:
        """Remove the filling."""
        self.is_filled = False
        self._ballast.unlink(missing_ok=True)
