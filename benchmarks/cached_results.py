"""Results of a long benchmark in a file of JSON lines, from which a killed benchmark continues.

An entry counts only for equal inputs: its key ``inputs`` is a digest of settings, search space and recorded
curves. The code is no input, since an unrelated commit must not discard hours of work: a row names the
commits of its cached results. After a change of the measured code, delete the file.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from themo.checkpoints.environment import commit
from themo.config.settings import Settings
from themo.files.cache import digest


class Result(Protocol):
    """A result that knows the commit of the checkout that computed it."""

    @property
    def commit(self) -> str: ...  # noqa: D102


def inputs_of(settings: Settings, *others: Any) -> str:
    """A digest of the settings, without places of cache and logs, and of other JSON values."""
    return digest([settings.model_dump(mode="json", exclude={"paths"}), *others])


def other_commits(results: Iterable[Result]) -> str:
    """A clause for a row's detail with the commits of results of other checkouts; empty if there are none."""
    counts = Counter(result.commit for result in results)
    del counts[commit()]
    named = ", ".join(f"{each or 'unknown'} ({n})" for each, n in counts.items())
    return f"; cached results of other commits: {named}" if named else ""


def read(path: Path) -> list[dict[str, Any]]:
    """The entries of a file, without a last line that a kill cut short; none if there is no file.

    Raises:
        ValueError: A complete line is not JSON; the message names file and line.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    entries = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            entries.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}: line {number} must be JSON, delete it: {error}") from error
    return entries


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Append an entry as one line, in place of a last line that a kill cut short.

    Raises:
        OSError: The file cannot be written.
    """
    line = json.dumps(entry).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # else a second benchmark could remove a line that is being written
        file.truncate(_end(file))
        if file.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _end(file: FileIO) -> int:
    """Number of bytes of the complete lines of a file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    if file.read(1) in (b"", b"\n"):
        return size
    file.seek(0)
    return file.read().rfind(b"\n") + 1
