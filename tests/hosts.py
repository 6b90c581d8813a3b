"""A host on 127.0.0.1 for tests of downloads: serves files as real ones do, and fails when told to.

with Host(folder) as host:
    host.fault("a.tar", Fault(cut_after=1000))
    fetch(host.url("a.tar"), path)
    assert [r.range for r in host.gets("a.tar")] == [None, "bytes=1000-"]
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

BLOCK_BYTES = 1 << 14


@dataclass
class Request:
    """A request, and the number of bytes sent in answer."""

    method: str
    path: str
    """Without the leading slash and the query, unquoted."""
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    time: float
    """Value of `time.monotonic`, in seconds."""
    sent: int = 0
    """Bytes of the body."""

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass(frozen=True)
class Answer:
    """The answer of a route; the host turns a 200 into a 206 for a request of a range."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


Route = Callable[[Request], Answer | None]
"""None: the next route is asked."""


@dataclass(frozen=True)
class Fault:
    """A fault of a path."""

    times: int | None = 1
    """With so many requests; None: with all."""
    method: str | None = None
    """With these alone."""
    status: int | None = None
    """The answer is this one, without a body."""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Added to those of the answer, or taken away where None."""
    body: bytes | None = None
    """The file is another one."""
    cut_after: int | None = None
    """The connection is closed after so many bytes of a body."""
    hang_after: int | None = None
    """Nothing more is sent after so many bytes of a body until the client goes."""
    silent: bool = False
    """Nothing is sent at all."""
    seconds_per_block: float = 0.0
    """The body goes out slowly."""
    no_ranges: bool = False
    """Ranges are ignored, as simple hosts do."""
    no_condition: bool = False
    """`If-Range` is ignored, as broken hosts do."""
    chunked: bool = False
    """The size is not announced, but the end is marked."""


class Host:
    """A server in threads.

    Args:
        folder: Its files are served under their paths.

    Attributes:
        requests: All that came, in order.
        routes: Asked in order before `folder` is; for what is no file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[Request] = []
        self.routes: list[Route] = []
        self.released = threading.Event()
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Host:
        host = self

        class Handler(_Handler):
            served = host

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"

    def fault(self, path: str, *faults: Fault) -> None:
        """The first of a path's faults that is not used up strikes."""
        self._faults.setdefault(path, []).extend(faults)

    def mend(self) -> None:
        """No more faults."""
        self._faults.clear()

    def gets(self, path: str) -> list[Request]:
        return [r for r in self.requests if r.method == "GET" and r.path == path]

    def answer(self, request: Request) -> Answer:
        """Return the answer of the first route that has one, else a file, else 404."""
        for route in self.routes:
            answer = route(request)
            if answer is not None:
                return answer
        path = (self.folder / request.path).resolve()
        if not path.is_relative_to(self.folder.resolve()) or not path.is_file():
            return Answer(b"", status=404)
        body = path.read_bytes()
        changed = email.utils.formatdate(path.stat().st_mtime, usegmt=True)
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        return Answer(body, {"ETag": etag, "Last-Modified": changed, "Accept-Ranges": "bytes"})

    def take_fault(self, request: Request) -> Fault:
        """The fault that strikes a request; one without effect if none does."""
        with self._lock:
            faults = self._faults.get(request.path, [])
            for i, fault in enumerate(faults):
                if fault.method not in (None, request.method) or fault.times == 0:
                    continue
                if fault.times is not None:
                    faults[i] = replace(fault, times=fault.times - 1)
                return fault
        return Fault()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    served: Host
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(parts.path).lstrip("/"),
            query=parts.query,
            headers={name.lower(): value for name, value in self.headers.items()},
            time=time.monotonic(),
        )
        fault = self.served.take_fault(request)
        self.served.requests.append(request)
        if fault.silent:
            self._hang()
            return
        if fault.status is not None:
            answer = Answer(b"", status=fault.status)
        else:
            answer = self.served.answer(request)
            if fault.body is not None:
                answer = Answer(fault.body, {**answer.headers, "ETag": '"another"'}, answer.status)
            if answer.status == 200 and not fault.no_ranges:
                answer = _range(request, answer, conditional=not fault.no_condition)
        length = (
            {"Transfer-Encoding": "chunked"} if fault.chunked else {"Content-Length": str(len(answer.body))}
        )
        headers: dict[str, str | None] = {**length, **answer.headers, **fault.headers}
        self.send_response(answer.status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        if not fault.chunked and headers["Content-Length"] is None:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self._send(request, answer.body, fault)

    def _send(self, request: Request, body: bytes, fault: Fault) -> None:
        stops = [n for n in (fault.cut_after, fault.hang_after) if n is not None]
        end = min([len(body), *stops])
        while request.sent < end:
            block = body[request.sent : min(end, request.sent + BLOCK_BYTES)]
            request.sent += len(block)  # first: the client may be done before this thread runs again
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if fault.chunked else block)
            time.sleep(fault.seconds_per_block)
        if fault.hang_after is not None:
            self._hang()
        elif fault.cut_after is not None:
            self.close_connection = True
        elif fault.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _hang(self) -> None:
        self.close_connection = True
        self.connection.settimeout(0.05)
        while not self.served.released.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1, socket.MSG_PEEK):
                    return


def _range(request: Request, answer: Answer, *, conditional: bool) -> Answer:
    """The part of an answer that a request asks for (RFC 9110, sections 13.1.5 and 14)."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.range or "")
    if match is None:
        return answer
    condition = request.headers.get("if-range")
    validators = {answer.headers.get("ETag"), answer.headers.get("Last-Modified")}
    if conditional and condition is not None and condition not in validators:
        return answer
    total, start = len(answer.body), int(match[1])
    if start >= total:
        return Answer(b"", {**answer.headers, "Content-Range": f"bytes */{total}"}, status=416)
    body = answer.body[start : int(match[2]) + 1 if match[2] else total]
    content_range = f"bytes {start}-{start + len(body) - 1}/{total}"
    return Answer(body, {**answer.headers, "Content-Range": content_range}, status=206)
