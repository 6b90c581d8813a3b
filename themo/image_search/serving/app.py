"""The application behind a served page: its routes, and the page itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from string import Template

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from themo.image_search.gallery import counted
from themo.image_search.pictures import printable
from themo.image_search.serving.collection import Collection
from themo.image_search.serving.endpoints import FRESH, MOST_MATCHES, Endpoints
from themo.image_search.serving.workers import DisconnectedError

_PAGE = Path(__file__).parent / "page"
_PARTS = {"page.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}


def application(collection: Collection, n_best: int) -> Starlette:
    """Return the application, without its guard.

    Args:
        collection: The pictures.
        n_best: Number of matches that the page requests initially.
    """
    endpoints = Endpoints(collection)
    parts = {name: (_PAGE / name).read_text(encoding="utf-8") for name in _PARTS}
    return Starlette(
        routes=[
            Route("/", _sender(_page(collection, n_best), "text/html")),
            *(Route(f"/{name}", _sender(parts[name], kind)) for name, kind in _PARTS.items()),
            Route("/search", endpoints.search),
            Route("/similar/{number}", endpoints.similar),
            Route("/sample", endpoints.sample),
            Route("/thumbnails/{number}", endpoints.thumbnail),
            Route("/pictures/{number}", endpoints.picture),
        ],
        exception_handlers={DisconnectedError: _end},
    )


def _page(collection: Collection, n_best: int) -> str:
    facts = {
        "counted": counted(len(collection)),
        "folder": printable(collection.folder.resolve().name),
        "version": printable(collection.version),
        "n_best": str(min(n_best, MOST_MATCHES)),
        "most": str(MOST_MATCHES),
    }
    template = Template((_PAGE / "page.html").read_text(encoding="utf-8"))
    return template.substitute({name: escape(fact) for name, fact in facts.items()})


def _sender(text: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(_: Request) -> Response:
        return Response(text, media_type=kind, headers=FRESH)

    return send


async def _end(_: Request, __: Exception) -> Response:
    """Return an empty response to a closed connection."""
    return Response(status_code=499)
