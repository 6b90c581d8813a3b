"""Large files from ordinary hosts: fetched once, resumed, checked, refused in one line.

A file has its name only when it is whole. Until then it grows in ``<name>.part``; ``<name>.part.json`` tells
which version of it that is. What a killed process left is completed: the host is asked for the rest if it
still has that version, else for all (``Range`` with ``If-Range``, RFC 9110, section 13.1.5).

Bytes are stored as they are sent.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import httpx2

from themo.errors import InputError
from themo.fetching.hosts import (
    REACH_SECONDS,
    Backoff,
    HostError,
    answer_of,
    client_of,
    length_of,
    validator_of,
)
from themo.files.locks import alone
from themo.process.progress import track

READ_SECONDS = 30.0
"""A transfer that brings no byte for so long hangs, and is cut."""

PROBE_SECONDS = 5.0
"""The same for a probe, which nobody wants to wait for."""

HEADWAY_BYTES = 1 << 20
"""A try that brought so many bytes more than any before it gives the next one all waits again."""

CHUNK_BYTES = 1 << 20
MB = 1e6


@dataclass(frozen=True)
class Remote:
    """A file on a host, and what its publisher says of it."""

    url: str
    size: int | None = None
    """Bytes, where published."""
    sha256: str | None = None
    """64 hexadecimal digits, where published."""


def fetch(remote: Remote, path: Path, *, offline: bool = False) -> Path:
    """Download a file unless it is there.

    A file that is there is taken as it is, its hash unread: it may be large, and the user's own. If its size
    is not the published one it is refused, not replaced, for the same reason. Of processes that want a file
    at once, one fetches it.

    Args:
        remote: Where it is; size and hash are checked where published.
        path: Where it goes. Folders are made.
        offline: Touch no network.

    Returns:
        `path`.

    Raises:
        InputError: It is missing and `offline`; the host cannot be reached, refuses it, or fails again and
            again; it does not fit the disk; size or hash are not as published; `path` cannot be written.
    """
    try:
        if _is_there(remote, path):
            return path
        if offline:
            raise InputError(
                f"{remote.url}: is needed, and this run is offline; put the file at {path} yourself"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock")
        with alone(lock, f"{path}: another process is fetching it; waiting"):
            if not _is_there(remote, path):
                _download(remote, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def probe(remote: Remote) -> int | None:
    """Size of a file in bytes without downloading it: as the host tells, else as published, else None.

    Raises:
        InputError: The host cannot be reached or does not answer, or has no such file.
    """
    backoff = Backoff(remote.url, within=REACH_SECONDS)
    with client_of(PROBE_SECONDS) as client:
        while True:
            try:
                with answer_of(client, "HEAD", remote.url) as response:
                    announced = length_of(response)
                    return remote.size if announced is None else announced
            except HostError as failure:
                # many hosts that serve a file answer HEAD with 403, 405 or 429: that says nothing about GET
                if failure.status is not None and failure.status not in (404, 410):
                    return remote.size
                if not backoff.waits_after(failure):
                    raise InputError(f"{remote.url}: {failure}; check the network") from failure


def _is_there(remote: Remote, path: Path) -> bool:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    if not path.is_file():
        raise InputError(f"{path}: must be a file")
    if remote.size not in (None, size):
        raise InputError(
            f"{path}: must have the {remote.size:,} bytes that are published for {remote.url}, got {size:,}; "
            "remove it to have it fetched"
        )
    return True


def _download(remote: Remote, path: Path) -> None:
    part = _Part(remote, path)
    backoff = Backoff(remote.url)
    furthest = part.size
    with client_of(READ_SECONDS) as client:
        while not part.is_whole:
            try:
                _receive(client, remote, part)
            except HostError as failure:
                if part.size >= furthest + HEADWAY_BYTES:
                    furthest = part.size
                    backoff.renew()
                if not backoff.waits_after(failure):
                    raise InputError(
                        f"{remote.url}: {failure}; check the network, or put the file at {path} yourself"
                    ) from failure
    part.finish()


def _receive(client: httpx2.Client, remote: Remote, part: _Part) -> None:
    """One try: the rest of the file, or all of it.

    Raises:
        HostError: It failed; `part` holds what came.
    """
    rest: dict[str, str] = {}
    if part.size and part.validator:
        rest = {"Range": f"bytes={part.size}-", "If-Range": part.validator}
    with answer_of(client, "GET", remote.url, rest) as response:
        if response.status_code == 200:
            part.start_over(response)
        else:
            part.go_on(response)
        before = f", {part.size / MB:,.0f} MB are there" if part.size else ""
        left = 0 if part.total is None else part.total - part.size
        with part.file.open("ab") as file, track(f"Fetching {part.name}{before}", left / MB, "MB") as advance:
            for chunk in response.iter_raw():
                file.write(chunk)
                part.count(chunk)
                advance(len(chunk) / MB)
        part.end()


class _Part:
    """What came of a file so far.

    Attributes:
        file: Holds it.
        name: The file's own, for people.
        size: Bytes that are there.
        total: Bytes that there will be; None where the host does not tell.
        validator: Entity tag or date by which the host knows this version of the file.
    """

    def __init__(self, remote: Remote, path: Path) -> None:
        self._remote, self._path = remote, path
        self.name = path.name
        self.file = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self.size, self.total, self.validator = self._left_behind()
        self._sha256 = hashlib.sha256()
        if remote.sha256 is not None and self.size:
            self._read_again()

    def _left_behind(self) -> tuple[int, int | None, str | None]:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            url, total, validator = note["url"], note["total"], note["validator"]
            size = self.file.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return 0, None, None
        if not isinstance(validator, str) or not isinstance(total, int | None):
            return 0, None, None
        # the note may be of another address, or older than what is published today
        expected = total if self._remote.size is None else self._remote.size
        if url != self._remote.url or total != expected or (total is not None and size > total):
            return 0, None, None
        return size, total, validator

    def _read_again(self) -> None:
        with (
            self.file.open("rb") as file,
            track(f"Reading {self.file.name}, which is there", self.size / MB, "MB") as advance,
        ):
            while chunk := file.read(CHUNK_BYTES):
                self._sha256.update(chunk)
                advance(len(chunk) / MB)

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are there; they are still to be checked."""
        return self.size == self.total

    def start_over(self, response: httpx2.Response) -> None:
        """Take an answer that holds all of the file.

        Raises:
            InputError: What it announces cannot end well.
        """
        self.discard()
        announced, published = length_of(response), self._remote.size
        if published is not None and announced not in (None, published):
            raise InputError(
                f"{self._remote.url}: must have {published:,} bytes as published, the host announces "
                f"{announced:,}; put the file at {self._path} yourself"
            )
        self.total = published if announced is None else announced
        is_chunked = "chunked" in response.headers.get("transfer-encoding", "")
        if self.total is None and self._remote.sha256 is None and not is_chunked:
            # the end of the connection would be the end of the file, and a cut one would pass for whole
            raise InputError(
                f"{self._remote.url}: the host must announce a size, none is published either; "
                f"put the file at {self._path} yourself"
            )
        self._refuse_if_too_large()
        self.validator = validator_of(response)
        if self.validator is not None:
            note = {"url": self._remote.url, "validator": self.validator, "total": self.total}
            self._note.write_text(json.dumps(note), encoding="utf-8")

    def go_on(self, response: httpx2.Response) -> None:
        """Take an answer that holds what comes next of the same version.

        Raises:
            HostError: It holds something else; what came is removed.
            InputError: The rest does not fit the disk.
        """
        content_range = response.headers.get("content-range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range, re.ASCII)
        total = None if match is None or match[2] == "*" else int(match[2])
        if (
            match is None
            or int(match[1]) != self.size
            or (total is not None and self.total not in (None, total))
            or validator_of(response) not in (None, self.validator)
        ):
            self.discard()
            raise HostError(f"must send the rest of the file, sends {content_range or 'no range'}")
        self.total = total if self.total is None else self.total
        self._refuse_if_too_large()

    def _refuse_if_too_large(self) -> None:
        needed = 0 if self.total is None else self.total - self.size
        free = shutil.disk_usage(self._path.parent).free
        if needed > free:
            raise InputError(
                f"{self._remote.url}: needs {needed / MB:,.1f} MB in {self._path.parent}, "
                f"where {free / MB:,.1f} MB are free"
            )

    def count(self, chunk: bytes) -> None:
        """Bytes were added to `file`."""
        self.size += len(chunk)
        if self._remote.sha256 is not None:
            self._sha256.update(chunk)
        total = self.total
        if total is not None and self.size > total:
            self.discard()
            raise InputError(f"{self._remote.url}: must have {total:,} bytes, the host sends more")

    def end(self) -> None:
        """The transfer ended by itself: a file of unknown size is whole.

        Raises:
            HostError: Bytes are missing.
        """
        if self.total is None:
            self.total = self.size
        elif not self.is_whole:
            raise HostError(f"the transfer was cut after {self.size:,} of {self.total:,} bytes")

    def finish(self) -> None:
        """Check the hash and give the file its name.

        Raises:
            InputError: It is another one than published; the file is removed.
        """
        published, got = self._remote.sha256, self._sha256.hexdigest()
        if published is not None and got != published.lower():
            self.discard()
            raise InputError(
                f"{self._remote.url}: sha256 must be {published.lower()}, got {got}; what came is removed: "
                f"try again, or put the file at {self._path} yourself"
            )
        with self.file.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave the name without the bytes
        self.file.replace(self._path)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what came."""
        # the note first: without it, nothing takes the bytes for a version that they are not
        self._note.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)
        self.size, self.total, self.validator = 0, None, None
        self._sha256 = hashlib.sha256()
