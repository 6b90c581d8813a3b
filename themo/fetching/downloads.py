"""Downloads of large files: fetched once, resumed, checked.

A download grows in ``<name>.part`` and gets its name when it is complete. ``<name>.part.json`` records the
version of the partial file. After a kill, the rest is requested if the host still has that version, else the
whole file (``Range`` with ``If-Range``, RFC 9110, section 13.1.5). Bytes are stored as sent.
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
"""Read time-out of a transfer, in seconds."""

PROBE_SECONDS = 5.0
"""Read time-out of a probe, in seconds."""

HEADWAY_BYTES = 1 << 20
"""Progress of a try, in bytes, after which all waits are available again."""

CHUNK_BYTES = 1 << 20
MB = 1e6


@dataclass(frozen=True)
class Remote:
    """A file on a host, with its published size and hash."""

    url: str
    size: int | None = None
    """Published size in bytes; None if unknown."""
    sha256: str | None = None
    """Published hash, 64 hexadecimal digits; None if unknown."""


def fetch(remote: Remote, path: Path, *, offline: bool = False) -> Path:
    """Download a file unless it exists.

    The hash of an existing file is not checked, since it may be large and the user's own. A file of another
    size than published is refused, not replaced, for the same reason. A lock leaves the download to one of
    several processes.

    Args:
        remote: Address, with size and hash to check if published.
        path: Path of the file; its parents are made.
        offline: No network access.

    Returns:
        `path`.

    Raises:
        InputError: The file is missing and `offline` is set; the host is unreachable, refuses the file or
            keeps failing; the disk is too small; size or hash differ from the published ones; `path` cannot
            be written.
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
    """Return a file's size in bytes without downloading it: the host's, else the published one, else None.

    Raises:
        InputError: The host is unreachable or does not answer, or lacks the file.
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
    """Try once to receive the rest of a file, or all of it.

    Raises:
        HostError: The try failed; `part` holds the received bytes.
    """
    rest: dict[str, str] = {}
    if part.size and part.validator:
        rest = {"Range": f"bytes={part.size}-", "If-Range": part.validator}
    with answer_of(client, "GET", remote.url, rest) as response:
        if response.status_code == 200:
            part.start_over(response)
        else:
            part.continue_with(response)
        before = f", {part.size / MB:,.0f} MB are present" if part.size else ""
        left = 0 if part.total is None else part.total - part.size
        with part.file.open("ab") as file, track(f"Fetching {part.name}{before}", left / MB, "MB") as advance:
            for chunk in response.iter_raw():
                file.write(chunk)
                part.count(chunk)
                advance(len(chunk) / MB)
        part.end()


class _Part:
    """The received part of a file.

    Attributes:
        file: File of the received bytes.
        name: Name of the complete file, for messages.
        size: Number of received bytes.
        total: Number of bytes of the complete file; None if unknown.
        validator: Entity tag or date of this version of the file.
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
        # the record may be of another address or an older version
        expected = total if self._remote.size is None else self._remote.size
        if url != self._remote.url or total != expected or (total is not None and size > total):
            return 0, None, None
        return size, total, validator

    def _read_again(self) -> None:
        with (
            self.file.open("rb") as file,
            track(f"Hashing {self.file.name}", self.size / MB, "MB") as advance,
        ):
            while chunk := file.read(CHUNK_BYTES):
                self._sha256.update(chunk)
                advance(len(chunk) / MB)

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are received; they are not yet checked."""
        return self.size == self.total

    def start_over(self, response: httpx2.Response) -> None:
        """Start over with a response of the whole file.

        Raises:
            InputError: The announced size is missing, wrong or too large.
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
            # without a size, a cut connection would look like the end of the file
            raise InputError(
                f"{self._remote.url}: the host must announce a size, none is published either; "
                f"put the file at {self._path} yourself"
            )
        self._refuse_if_too_large()
        self.validator = validator_of(response)
        if self.validator is not None:
            note = {"url": self._remote.url, "validator": self.validator, "total": self.total}
            self._note.write_text(json.dumps(note), encoding="utf-8")

    def continue_with(self, response: httpx2.Response) -> None:
        """Continue with a response of the next bytes of the same version.

        Raises:
            HostError: The response holds other bytes; the received bytes are removed.
            InputError: The disk is too small for the rest.
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
        """Count and hash bytes that were added to `file`."""
        self.size += len(chunk)
        if self._remote.sha256 is not None:
            self._sha256.update(chunk)
        total = self.total
        if total is not None and self.size > total:
            self.discard()
            raise InputError(f"{self._remote.url}: must have {total:,} bytes, the host sends more")

    def end(self) -> None:
        """Record the end of the transfer, which completes a file of unknown size.

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
            InputError: The hash differs from the published one; the file is removed.
        """
        published, got = self._remote.sha256, self._sha256.hexdigest()
        if published is not None and got != published.lower():
            self.discard()
            raise InputError(
                f"{self._remote.url}: sha256 must be {published.lower()}, got {got}; "
                f"the download is removed: try again, or put the file at {self._path} yourself"
            )
        with self.file.open("rb") as file:
            os.fsync(file.fileno())  # so that a power cut cannot leave the name without the bytes
        self.file.replace(self._path)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the received bytes."""
        # the record first: without it, the bytes are never taken for another version
        self._note.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)
        self.size, self.total, self.validator = 0, None, None
        self._sha256 = hashlib.sha256()
