"""Downloads of large files: fetched once, resumed.

After a kill, the rest is requested if the host still has the version of the partial file, else the whole file
(``Range`` with ``If-Range``, RFC 9110, section 13.1.5). Bytes are stored as sent.
"""

from __future__ import annotations

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
)
from themo.fetching.partial_file import MB, PartialFile
from themo.files.locks import alone
from themo.process.progress import track

READ_SECONDS = 30.0
"""Read time-out of a transfer, in seconds."""

PROBE_SECONDS = 5.0
"""Read time-out of a probe, in seconds."""

HEADWAY_BYTES = 1 << 20
"""Progress of a try, in bytes, that resets the backoff."""


def fetch(url: str, path: Path, *, offline: bool = False) -> Path:
    """Download a file unless it exists.

    An existing file is not checked: it may be the user's own. A lock leaves the download to one of several
    processes.

    Args:
        url: Address of the file.
        path: Path of the file; its parents are made.
        offline: No network access.

    Returns:
        `path`.

    Raises:
        InputError: The file is missing and `offline` is set; the host is unreachable, refuses the file or
            keeps failing; the disk is too small; `path` cannot be written.
    """
    try:
        if _is_there(path):
            return path
        if offline:
            raise InputError(f"{url}: is needed, and this run is offline; put the file at {path} yourself")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock")
        with alone(lock, f"{path}: another process is fetching it; waiting"):
            if not _is_there(path):
                _download(url, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def probe(url: str) -> int | None:
    """Return a file's size in bytes as its host announces it, else None; nothing is downloaded.

    Raises:
        InputError: The host is unreachable or does not answer, or lacks the file.
    """
    backoff = Backoff(url, within=REACH_SECONDS)
    with client_of(PROBE_SECONDS) as client:
        while True:
            try:
                with answer_of(client, "HEAD", url) as response:
                    return length_of(response)
            except HostError as failure:
                # many hosts answer HEAD with 403, 405 or 429, and GET with the file
                if failure.status is not None and failure.status not in (404, 410):
                    return None
                if not backoff.wait_to_retry(failure):
                    raise InputError(f"{url}: {failure}; check the network") from failure


def _is_there(path: Path) -> bool:
    try:
        path.stat()  # raises where a parent is a file, unlike `exists`
    except FileNotFoundError:
        return False
    if not path.is_file():
        raise InputError(f"{path}: must be a file")
    return True


def _download(url: str, path: Path) -> None:
    part = PartialFile(url, path)
    backoff = Backoff(url)
    furthest = part.size
    with client_of(READ_SECONDS) as client:
        while not part.is_whole:
            try:
                _receive(client, url, part)
            except HostError as failure:
                if part.size >= furthest + HEADWAY_BYTES:
                    furthest = part.size
                    backoff.reset()
                if not backoff.wait_to_retry(failure):
                    raise InputError(
                        f"{url}: {failure}; check the network, or put the file at {path} yourself"
                    ) from failure
    part.finish()


def _receive(client: httpx2.Client, url: str, part: PartialFile) -> None:
    """Try once to receive the rest of a file, or all of it.

    Raises:
        HostError: The try failed; `part` holds the received bytes.
    """
    rest: dict[str, str] = {}
    if part.size and part.validator:
        rest = {"Range": f"bytes={part.size}-", "If-Range": part.validator}
    with answer_of(client, "GET", url, rest) as response:
        _refuse_encoded(response, part.name)
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


def _refuse_encoded(response: httpx2.Response, name: str) -> None:
    """Refuse a body that is compressed for the transfer.

    Raises:
        HostError: It is, and not by the compression of the file itself, which some hosts name here.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    is_of_the_file = encoding in ("gzip", "x-gzip") and name.lower().endswith((".gz", ".tgz"))
    if encoding not in ("", "identity") and not is_of_the_file:
        raise HostError(f"must be sent without Content-Encoding, is sent with {encoding}", again=False)
