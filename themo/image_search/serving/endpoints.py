"""The endpoints of a served page: matches as JSON, small copies and pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from themo.errors import InputError
from themo.image_search.pictures import printable
from themo.image_search.serving.collection import Collection
from themo.image_search.serving.formats import HEAD_BYTES, media_type
from themo.image_search.serving.thumbnails import Thumbnails
from themo.image_search.serving.workers import Workers
from themo.image_search.small_copies import small_copy
from themo.models.normal_form import is_blank
from themo.process.devices import cores

MOST_MATCHES = 240
"""Greatest number of matches of an answer."""
MOST_CHARACTERS = 2000
"""Greatest length of a text, in characters."""
MOST_DECODERS = 4
"""Greatest number of pictures that are decoded at once; each may take 1 GiB."""
CONVERTED_PIXELS = 4096
"""Longer side of a picture that is converted for the browser, in pixels."""
CONVERTED_QUALITY = 90

FRESH = {"Cache-Control": "private, no-cache"}
"""A browser revalidates every picture, and so notices a deleted one; unchanged ones are not resent."""

SHOWN = FRESH | {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
"""Headers of a full picture: a browser that opens the picture alone adds its own inline style."""


class Endpoints:
    """The endpoints over a collection.

    Pictures are addressed by their number in the index, so a request cannot name a file.

    Args:
        collection: The pictures.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._thumbnails = Thumbnails()
        self._searchers = Workers(1, "search")
        self._decoders = Workers(min(cores(), MOST_DECODERS), "decode")

    async def search(self, request: Request) -> Response:
        """Answer ``?text=perro&n=24`` with the best matches of a text."""
        text = request.query_params.get("text", "")
        if is_blank(text):
            raise HTTPException(400, "text: must not be empty")
        if len(text) > MOST_CHARACTERS:
            raise HTTPException(400, f"text: must have at most {MOST_CHARACTERS} characters, got {len(text)}")
        matches = await self._searchers.run(request, self._collection.by_text, text, _n_matches(request))
        return JSONResponse(matches)

    async def similar(self, request: Request) -> Response:
        """Answer ``?n=24`` with the pictures most similar to a picture."""
        number = _number(request, len(self._collection))
        matches = await self._searchers.run(request, self._collection.similar_to, number, _n_matches(request))
        return JSONResponse(matches)

    async def sample(self, request: Request) -> Response:
        """Answer ``?n=24`` with pictures from the whole folder."""
        return JSONResponse(self._collection.sample(_n_matches(request)))

    async def thumbnail(self, request: Request) -> Response:
        """Answer with a small copy."""
        path = self._path(request)
        status, _ = await run_in_threadpool(_look, path)
        headers = FRESH | {"ETag": f'"{status.st_mtime_ns:x}-{status.st_size:x}"'}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        key = (path, status.st_mtime_ns, status.st_size)

        def get() -> bytes:
            return self._thumbnails.get(key, lambda: small_copy(path))

        return await self._jpeg(request, get, headers)

    async def picture(self, request: Request) -> Response:
        """Answer with a file as it is, or with a JPEG of a format that browsers do not show."""
        path = self._path(request)
        status, kind = await run_in_threadpool(_look, path)
        if kind is None:
            return await self._jpeg(
                request, lambda: small_copy(path, CONVERTED_PIXELS, CONVERTED_QUALITY), SHOWN
            )
        reply = FileResponse(
            path,
            media_type=kind,
            filename=printable(path.name),
            stat_result=status,
            content_disposition_type="inline",
            headers=SHOWN,
        )
        if request.headers.get("If-None-Match") == reply.headers["ETag"]:
            return Response(status_code=304, headers=SHOWN)
        return reply

    async def _jpeg(self, request: Request, make: Callable[[], bytes], headers: dict[str, str]) -> Response:
        try:
            content = await self._decoders.run(request, make)
        except InputError:
            raise HTTPException(404, "This picture can no longer be read.") from None
        return Response(content, media_type="image/jpeg", headers=headers)

    def _path(self, request: Request) -> Path:
        return self._collection.path(_number(request, len(self._collection)))


def _look(path: Path) -> tuple[os.stat_result, str | None]:
    """Return a file's status and the media type of a format that browsers show."""
    try:
        status = path.stat()
        if S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            with path.open("rb") as file:
                return status, media_type(file.read(HEAD_BYTES))
    except OSError:
        pass
    raise HTTPException(404, "This picture no longer exists.")


def _number(request: Request, n: int) -> int:
    number = _whole(request.path_params["number"])
    if number is None or number >= n:
        raise HTTPException(404, "This picture does not exist.")
    return number


def _n_matches(request: Request) -> int:
    number = _whole(request.query_params.get("n", ""))
    if number is None or not 1 <= number <= MOST_MATCHES:
        raise HTTPException(400, f"n: must be a whole number from 1 to {MOST_MATCHES}")
    return number


def _whole(text: str) -> int | None:
    """Return the integer of a text of at most 9 digits, else None; int() accepts more and raises."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
