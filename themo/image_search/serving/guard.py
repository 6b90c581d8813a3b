"""The guard of a served page: authorises requests, and restricts what a browser does with responses."""

from __future__ import annotations

from hmac import compare_digest

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from themo.image_search.serving.listening import Hosts

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of answers: own scripts and pictures only, no frame, no other site, no address in a referrer."""

METHODS = ("GET", "HEAD")
"""Allowed methods: the server is read-only."""


class Guard:
    """An ASGI application that passes on requests with the token, and adds `HEADERS` to answers.

    A response that sets such a header keeps its own value.

    The token is the first part of the path, so that relative addresses of the page carry it. A cookie would
    be sent to every other port of the machine too.

    Args:
        app: Application behind the guard; it sees the path without the token.
        token: Secret of the address.
        hosts: Accepted ``Host`` headers.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Hosts) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, secured)
        else:
            await self._app({**scope, "root_path": f"/{self._token}"}, receive, secured)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or not self._hosts.accepts(hosts[0]):
            return PlainTextResponse("This server does not answer to this host name.\n", 403)
        given = scope["path"].removeprefix("/").partition("/")[0]
        if not compare_digest(given.encode(), self._token.encode()):
            return PlainTextResponse(
                "The address must contain the token that `themo search --serve` printed.\n", 403
            )
        if scope["method"] not in METHODS:
            return PlainTextResponse("Only GET.\n", 405, headers={"Allow": ", ".join(METHODS)})
        return None
