from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from themo.errors import InputError
from themo.image_search.serving.thumbnails import Thumbnails


def test_the_oldest_unused_copy_is_dropped() -> None:
    cache, made = Thumbnails(most_bytes=30), []

    def get(key: str) -> bytes:
        def make() -> bytes:
            made.append(key)
            return key.encode() * 10

        return cache.get(key, make)

    for key in "abcab":
        assert get(key) == key.encode() * 10
    assert made == ["a", "b", "c"]
    get("d")  # drops c
    assert cache.n_bytes == 30
    for key in "abdc":
        get(key)
    assert made == ["a", "b", "c", "d", "c"]


def test_a_copy_larger_than_the_cache_is_not_kept() -> None:
    cache = Thumbnails(most_bytes=5)
    assert cache.get("a", lambda: b"x" * 6) == b"x" * 6
    assert cache.n_bytes == 0


def test_errors_are_raised_each_time() -> None:
    def fail() -> bytes:
        raise InputError("broken")

    cache = Thumbnails()
    for _ in range(2):
        with pytest.raises(InputError):
            cache.get("a", fail)
    assert cache.get("a", lambda: b"x") == b"x"


def test_threads_keep_the_bound() -> None:
    cache = Thumbnails(most_bytes=1000)
    with ThreadPoolExecutor(16) as threads:
        sizes = list(threads.map(lambda i: len(cache.get(i % 37, lambda: bytes(1 + i % 37))), range(5000)))
    assert sizes == [1 + i % 37 for i in range(5000)]
    assert cache.n_bytes == sum(range(1, 38))
