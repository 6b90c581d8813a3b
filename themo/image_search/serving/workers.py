"""Threads that process requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

T = TypeVar("T")


class DisconnectedError(Exception):
    """The browser has closed the connection before its request's turn came."""


class Workers:
    """Threads that do one kind of work, in the order of the requests.

    A request is skipped if its browser no longer waits, as when the user has typed more.

    Args:
        n: Number of threads; 1 for torch, which keeps a thread pool for each calling thread.
        name: Name of the threads.
    """

    def __init__(self, n: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(n, thread_name_prefix=name)
        self._turn = asyncio.Semaphore(n)

    async def run(self, request: Request, work: Callable[..., T], *arguments: object) -> T:
        """Run ``work(*arguments)`` in a thread when its turn comes.

        Raises:
            DisconnectedError: The browser has closed the connection.
        """
        async with self._turn:
            if await request.is_disconnected():
                raise DisconnectedError
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
