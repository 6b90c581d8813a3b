"""``report --follow``: a local server whose page shows a search while another process runs it.

The server reads the search directory as ``status`` does and changes nothing in it. The page asks for news
every two seconds, and takes new content when a file that it shows has changed.
"""

from __future__ import annotations

import errno
import json
import threading
from contextlib import suppress
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from themo.checkpoints.versions import TEST_FILE
from themo.errors import InputError
from themo.evaluation.report.html_page import render_page
from themo.files.run_folders import BEST_VERSION, SEARCH_FILE, STUDY_FILE
from tune.results.best_trials import BEST_SETTINGS
from tune.results.report.page import SCRIPTS, TEMPLATE, content_of, now_in_words
from tune.results.report.source import NoScoreError, read_source
from tune.results.status import read_status
from tune.study.naming import is_held, is_starting
from tune.study.search import read_search

HOST = "127.0.0.1"

_HERE = Path(__file__).parent
_WAITING = _HERE / "waiting.html"
_SHOWN = (SEARCH_FILE, STUDY_FILE, BEST_SETTINGS, f"{BEST_VERSION}/{TEST_FILE}")
"""The files that a page shows."""


class Follower:
    """The page of a search directory, rendered again when its files have changed.

    Args:
        folder: The search directory, with a search or one that a process is creating.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # one rendering at a time, whoever asks
        self._version = ""
        self._news: dict[str, Any] = {}
        self._pages: dict[bool, str] = {}

    def news(self) -> dict[str, Any]:
        """The version of the content, the search's activity, and a line about its progress."""
        with self._lock:
            self._look()
            return self._news

    def page(self, is_part: bool = False) -> str:
        """The page; as a part without its scripts, for a page that has them."""
        with self._lock:
            self._look()
            if is_part not in self._pages:
                self._pages[is_part] = self._render(is_part)
            return self._pages[is_part]

    def _look(self) -> None:
        """Drop what is known if a file has changed, or the process that runs the search has come or gone."""
        version = f"{self._stamps()} {is_held(self._folder)}"
        if version == self._version:
            return
        self._version, self._pages = version, {}
        activity, lines = self._progress()
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        self._news = {"version": version, "activity": activity, "line": f"{lines[0]} (as of {now})"}

    def _stamps(self) -> str:
        """The times at which the files of the page were written."""
        stamps = []
        for name in _SHOWN:
            with suppress(OSError):  # not written yet
                stamps.append(f"{name} {(self._folder / name).stat().st_mtime_ns}")
        return ", ".join(stamps)

    def _progress(self) -> tuple[str, list[str]]:
        """Activity of the search, and lines about it; of a directory that cannot be read, why."""
        if is_starting(self._folder):
            return "starting", [
                f"Search {self._folder.name} (starting): checking options; no trial has started"
            ]
        try:
            status = read_status(self._folder, asked_by="report NAME --follow")
        except InputError as error:
            return "unreadable", [str(error)]
        return status.activity, status.lines()

    def _render(self, is_part: bool) -> str:
        """Render the report; until the first score, and while a file is damaged, a page that says so."""
        render = partial(
            render_page, scripts=(*SCRIPTS, _HERE / "follow.js"), is_served=True, is_part=is_part
        )
        live = {"live": self._news["line"], "live_version": self._news["version"]}
        try:
            search = read_search(self._folder, asked_by="report NAME --follow")
            content = content_of(read_source(search, self._folder))
        except NoScoreError:
            lines = ["No trial has reported a score yet.", *self._progress()[1]]
        except InputError as error:
            lines = [str(error)] if self._news["activity"] != "starting" else self._progress()[1]
        else:
            return render(TEMPLATE, content.figures, data=content.data, **content.facts, **live)
        facts = {"name": self._folder.name, "lines": lines, "written": now_in_words(), **live}
        return render(_WAITING, {}, **facts)


def server_of(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a search's page on 127.0.0.1; `serve_forever` answers until it is interrupted.

    Args:
        folder: The search directory.
        port: The port; 0: any free one.

    Raises:
        InputError: The port is taken or may not be used.
    """
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Answer, Follower(folder)))
    except (OSError, OverflowError) as error:
        is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "another process listens there" if is_taken else getattr(error, "strerror", str(error))
        raise InputError(f"--port: must be a free port of {HOST} (0: any), {reason}, got {port}") from None


def accepted_hosts(port: int) -> set[str]:
    """The values of the ``Host`` header that a server on a port accepts; browsers leave out port 80."""
    names = (HOST, "localhost")
    return {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())


class _Answer(BaseHTTPRequestHandler):
    """Answers to the page's browser: the page, its news, its new content."""

    def __init__(self, follower: Follower, request: Any, address: Any, server: ThreadingHTTPServer) -> None:
        self._follower = follower
        self._port = server.server_port
        super().__init__(request, address, server)

    def do_GET(self) -> None:
        """Answer a request; a page of another host's name may not read it (DNS rebinding)."""
        if self.headers.get("Host") not in accepted_hosts(self._port):
            self._send(403, "text/plain", f"This server answers to {HOST}:{self._port} only.\n")
        elif self.path == "/":
            self._send(200, "text/html", self._follower.page())
        elif self.path == "/part":
            self._send(200, "text/html", self._follower.page(is_part=True))
        elif self.path == "/state":
            self._send(200, "application/json", json.dumps(self._follower.news()))
        else:
            self._send(404, "text/plain", "There is no such page.\n")

    def _send(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        with suppress(ConnectionError):  # the reader has closed the page
            self.send_response(code)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Requests are not printed."""
