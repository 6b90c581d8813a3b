"""Requests to hosts: errors worth a retry, waits between tries, and the limit of retries.

Proxies and certificates are those of the system and of ``HTTPS_PROXY``.
"""

from __future__ import annotations

import email.utils
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx2

from themo import __version__
from themo.process.progress import console

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Waits between tries, in seconds; after the last one the download fails."""

REACH_SECONDS = 3.0
"""Latest start of a retry, in seconds, for a host that has never answered."""

CONNECT_SECONDS = 3.0
"""Time-out of connecting and of resolving the host's name, in seconds."""

RETRY_AFTER_SECONDS = 60.0
"""Longest wait that a host may ask for, in seconds; a longer one fails at once."""


class HostError(Exception):
    """A failed try; the text gives the reason.

    Args:
        reason: Text after the address and a colon.
        again: Whether a retry may succeed.
        reached: Whether the host answered at all.
        status: Status code of the answer, if it was the failure.
        wait: Seconds that the host asks to wait.
    """

    def __init__(
        self,
        reason: str,
        *,
        again: bool = True,
        reached: bool = True,
        status: int | None = None,
        wait: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.again, self.reached, self.status, self.wait = again, reached, status, wait


class Backoff:
    """Increasing waits between retries of one host, up to a limit.

    Args:
        url: Address for messages.
        within: Latest start of a retry, in seconds after the first try; None: no limit.
    """

    def __init__(self, url: str, within: float | None = None) -> None:
        self._url, self._within = url, within
        self._reached = False
        self.reset()

    def reset(self) -> None:
        """Reset the policy after progress."""
        self._tries, self._start = 0, time.monotonic()

    def wait_to_retry(self, failure: HostError) -> bool:
        """Wait before a retry; return False if the limit is reached."""
        self._reached |= failure.reached
        if not failure.again or self._tries == len(BACKOFF_SECONDS) or failure.wait > RETRY_AFTER_SECONDS:
            return False
        wait = max(BACKOFF_SECONDS[self._tries], failure.wait)
        within = self._within if self._reached else REACH_SECONDS
        if within is not None and time.monotonic() + wait - self._start > within:
            return False
        self._tries += 1
        console.print(f"{self._url}: {failure}; next try in {wait:g} s")
        time.sleep(wait)
        return True


def client_of(read_seconds: float) -> httpx2.Client:
    """Return a client with a read time-out in seconds."""
    return httpx2.Client(
        follow_redirects=True,
        timeout=httpx2.Timeout(read_seconds, connect=CONNECT_SECONDS),
        # a range counts uncompressed bytes
        headers={"Accept-Encoding": "identity", "User-Agent": f"themo/{__version__}"},
    )


@contextmanager
def answer_of(
    client: httpx2.Client, method: str, url: str, headers: Mapping[str, str] | None = None
) -> Iterator[httpx2.Response]:
    """Open a host's answer of status 200, 206 or 416, before its body.

    Raises:
        HostError: There is no answer, or it ended early while the block read it.
    """
    try:
        _look_up(httpx2.URL(url))
        with client.stream(method, url, headers=headers) as response:
            if response.status_code not in (200, 206, 416):
                raise _refusal(response)
            yield response
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
        raise HostError(f"cannot be reached: {error}", reached=False) from error
    except httpx2.TimeoutException as error:
        raise HostError(f"no data arrived for {client.timeout.read:g} s") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.TooManyRedirects) as error:
        raise HostError(f"is not a valid file address: {error}", again=False) from error
    except httpx2.TransportError as error:
        raise HostError(f"the transfer was interrupted: {error}") from error


def _look_up(url: httpx2.URL) -> None:
    """Resolve a host's address in a thread, with a time-out that the system's resolver lacks.

    Raises:
        HostError: The host has no address, or the resolver does not answer.
    """
    host = url.raw_host.decode()
    if not host or urllib.request.getproxies():
        return  # the client refuses the address, or a proxy resolves it
    failures: list[str] = []

    def ask() -> None:
        try:
            socket.getaddrinfo(host, url.port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label of the name is too long
            failures.append(getattr(error, "strerror", None) or str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if thread.is_alive():
        reason = f"no address of {host} was found within {CONNECT_SECONDS:g} s"
        raise HostError(f"cannot be reached: {reason}", reached=False)
    if failures:
        raise HostError(f"cannot be reached: {host}: {failures[0]}", reached=False)


def _refusal(response: httpx2.Response) -> HostError:
    status = response.status_code
    reason = f"answers {status} {response.reason_phrase}".rstrip()
    wait = _retry_after(response.headers.get("retry-after", ""))
    if wait > RETRY_AFTER_SECONDS:
        reason += f" and asks to wait {wait:,.0f} s"
    return HostError(reason, again=status in (408, 429) or status >= 500, status=status, wait=wait)


def _retry_after(value: str) -> float:
    """Return the seconds of a header ``Retry-After``, a number or a date; 0 if it is missing or malformed."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def length_of(response: httpx2.Response) -> int | None:
    """Return the announced bytes of a body."""
    value = response.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else None


def validator_of(response: httpx2.Response) -> str | None:
    """Return the validator for ``If-Range``: a strong entity tag, or the date."""
    etag: str = response.headers.get("etag", "")
    if etag and not etag.startswith("W/"):
        return etag
    date: str = response.headers.get("last-modified", "")
    return date or None
