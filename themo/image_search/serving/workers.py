"""Threads for the work of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

T = TypeVar("T")


class GivenUpError(Exception):
    """The browser has closed the connection before its request's turn came."""


class Workers:
    """Threads that do one kind of work, in the order of the requests.

    A request whose browser no longer waits, since its user has typed on, is not worked on.

    Args:
        n: Number of threads. torch keeps a pool of threads for each thread that calls it: use one.
        name: Name of the threads.
    """

    def __init__(self, n: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(n, thread_name_prefix=name)
        self._turn = asyncio.Semaphore(n)

    async def run(self, request: Request, work: Callable[..., T], *arguments: object) -> T:
        """Run ``work(*arguments)`` in a thread when its turn comes.

        Raises:
            GivenUpError: The browser does not wait any more.
        """
        async with self._turn:
            if await request.is_disconnected():
                raise GivenUpError
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
