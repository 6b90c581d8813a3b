"""A cache of thumbnails with bounded size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

MOST_BYTES = 64 * 2**20
"""Greatest size of all cached copies: some 2,000 photographs."""


class Thumbnails:
    """Thread-safe LRU cache of thumbnails.

    Args:
        most_bytes: Greatest size of all copies.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.n_bytes = 0
        """Total size of all copies, in bytes."""
        self._most_bytes = most_bytes
        self._copies: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return the copy of a key, made by `make` if it is not cached. Errors of `make` are not cached."""
        with self._lock:
            if key in self._copies:
                self._copies.move_to_end(key)
                return self._copies[key]
        copy = make()
        with self._lock:
            self.n_bytes += len(copy) - len(self._copies.pop(key, b""))
            self._copies[key] = copy
            while self.n_bytes > self._most_bytes:
                self.n_bytes -= len(self._copies.popitem(last=False)[1])
        return copy
