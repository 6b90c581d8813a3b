"""A server of a collection in a thread, and requests to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import numpy.typing as npt

from themo.image_search.answers import Answerer
from themo.image_search.chance import Calibration
from themo.image_search.references import References
from themo.image_search.serving.collection import Collection
from themo.image_search.serving.listening import DEFAULT_HOST, listen
from themo.image_search.serving.server import Server

TEXT = "el gato rojo corre"
N_BEST = 8
"""Matches that the page asks for at first."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: HTTPMessage
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def names(self) -> list[str]:
        return [match["name"] for match in json.loads(self.content)["matches"]]


@dataclass(frozen=True)
class Served:
    """A running server; `address` ends with the token and a slash."""

    address: str

    @property
    def token(self) -> str:
        return urlsplit(self.address).path.strip("/")

    def get(
        self, below: str = "", *, method: str = "GET", headers: Mapping[str, str] | None = None, **query: Any
    ) -> Reply:
        """Ask for an address below the token."""
        tail = f"?{urlencode(query)}" if query else ""
        return self.ask(f"/{self.token}/{below}{tail}", method, headers)

    def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Reply:
        """Ask for a path exactly as it is."""
        connection = HTTPConnection(str(urlsplit(self.address).netloc), timeout=60)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()


def calibrated(answerer: Answerer, references_RE: npt.NDArray[np.float32]) -> Answerer:
    """An answerer with own reference texts: without one, every match has a chance of 1."""
    answerer._calibration = Calibration(References(references_RE, logit_scale=1e4), same_meaning=1.0)
    return answerer


@contextmanager
def serving(collection: Collection) -> Iterator[Served]:
    """Serve a collection on a free port."""
    server = Server.over(collection, listen(DEFAULT_HOST, 0), DEFAULT_HOST, N_BEST)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield Served(server.address)
    finally:
        server.stop()
        thread.join(timeout=30)
        assert not thread.is_alive()
