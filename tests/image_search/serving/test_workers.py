from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from starlette.requests import Request

from themo.image_search.serving.workers import DisconnectedError, Workers


def request(is_connected: threading.Event) -> Request:
    """A request whose browser is there while the event is set."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request" if is_connected.is_set() else "http.disconnect"}

    return Request({"type": "http", "method": "GET", "path": "/", "headers": []}, receive)


@pytest.mark.parametrize("n", [1, 3])
def test_no_more_work_at_once_than_threads(n: int) -> None:
    there = threading.Event()
    there.set()
    running, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pause.wait(0.01)
        with lock:
            running -= 1
        return number

    async def run() -> list[int]:
        workers = Workers(n, "test")
        return await asyncio.gather(*(workers.run(request(there), work, i) for i in range(20)))

    pause = threading.Event()
    assert asyncio.run(run()) == list(range(20))
    assert most == n


def test_work_that_nobody_awaits_is_left_out() -> None:
    there, done, release = threading.Event(), [], threading.Event()
    there.set()

    def slow() -> None:
        release.wait(60)

    async def run() -> list[object]:
        workers = Workers(1, "test")
        tasks = [asyncio.create_task(workers.run(request(there), slow))]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(workers.run(request(there), done.append, i)) for i in range(3)]
        await asyncio.sleep(0.05)
        there.clear()  # their user has typed on
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = asyncio.run(run())
    assert first is None
    assert [type(other) for other in others] == [DisconnectedError] * 3
    assert done == []


def test_errors_of_the_work_reach_the_request() -> None:
    there = threading.Event()
    there.set()

    def fail() -> None:
        raise LookupError("no such picture")

    with pytest.raises(LookupError, match="no such picture"):
        asyncio.run(Workers(1, "test").run(request(there), fail))
