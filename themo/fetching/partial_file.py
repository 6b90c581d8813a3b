"""The partial file of a download: its received bytes, its version on the host, and its completion.

A download grows in ``<name>.part`` and gets its name when it is complete. ``<name>.part.json`` records the
version of the partial file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import httpx2

from themo.errors import InputError
from themo.fetching.hosts import HostError, length_of, validator_of

MB = 1e6


class PartialFile:
    """The received part of a file.

    Attributes:
        file: File of the received bytes.
        name: Name of the complete file, for messages.
        size: Number of received bytes.
        total: Number of bytes of the complete file; None if unknown.
        validator: Entity tag or date of this version of the file.
    """

    def __init__(self, url: str, path: Path) -> None:
        self._url, self._path = url, path
        self.name = path.name
        self.file = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")
        self.size, self.total, self.validator = self._read_note()

    def _read_note(self) -> tuple[int, int | None, str | None]:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            url, total, validator = note["url"], note["total"], note["validator"]
            size = self.file.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return 0, None, None
        if not isinstance(validator, str) or not isinstance(total, int | None):
            return 0, None, None
        # the record may be of another address or an older version
        if url != self._url or (total is not None and size > total):
            return 0, None, None
        return size, total, validator

    @property
    def is_whole(self) -> bool:
        """Whether all bytes are received."""
        return self.size == self.total

    def start_over(self, response: httpx2.Response) -> None:
        """Start over with a response of the whole file.

        Raises:
            InputError: The announced size is missing or too large.
        """
        self.discard()
        self.total = length_of(response)
        is_chunked = "chunked" in response.headers.get("transfer-encoding", "")
        if self.total is None and not is_chunked:
            # without a size, a cut connection would look like the end of the file
            raise InputError(
                f"{self._url}: the host must announce a size; put the file at {self._path} yourself"
            )
        self._refuse_if_too_large()
        self.validator = validator_of(response)
        if self.validator is not None:
            note = {"url": self._url, "validator": self.validator, "total": self.total}
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
                f"{self._url}: needs {needed / MB:,.1f} MB in {self._path.parent}, "
                f"where {free / MB:,.1f} MB are free"
            )

    def count(self, chunk: bytes) -> None:
        """Count bytes that were added to `file`."""
        self.size += len(chunk)
        total = self.total
        if total is not None and self.size > total:
            self.discard()
            raise InputError(f"{self._url}: must have {total:,} bytes, the host sends more")

    def end(self) -> None:
        """Record the end of the transfer, which completes a file of unknown size.

        Raises:
            HostError: Bytes are missing.
        """
        if self.total is None:
            self.total = self.size
        elif not self.is_whole:
            raise HostError(f"the transfer was interrupted after {self.size:,} of {self.total:,} bytes")

    def finish(self) -> None:
        """Give the file its name."""
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
