"""The running server of a served page."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass

import uvicorn

from themo.image_search.serving.app import application
from themo.image_search.serving.collection import Collection
from themo.image_search.serving.guard import Guard
from themo.image_search.serving.listening import Hosts, address_of

_PATIENCE_SECONDS = 2
"""Seconds after Ctrl-C in which open requests may end."""


@dataclass(frozen=True)
class Server:
    """A server of one collection.

    Attributes:
        address: Address of the page, with its token.
    """

    address: str
    _server: uvicorn.Server
    _listener: socket.socket

    @classmethod
    def over(cls, collection: Collection, listener: socket.socket, host: str, n_best: int) -> Server:
        """Return a server on a listening socket, with a new token.

        Args:
            collection: The pictures.
            listener: Socket of `themo.image_search.serving.listening.listen`; the server closes it.
            host: Host that the socket was asked to listen on.
            n_best: Number of matches that the page requests initially.
        """
        token = secrets.token_urlsafe(16)
        config = uvicorn.Config(
            Guard(application(collection, n_best), token, Hosts.of(host, listener)),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_PATIENCE_SECONDS,
        )
        return cls(address_of(listener, token), uvicorn.Server(config), listener)

    def run(self) -> None:
        """Serve until `stop` or a signal; the signal is raised again after an orderly end."""
        self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._server.should_exit = True
