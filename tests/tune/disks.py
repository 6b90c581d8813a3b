"""Disks that are full for a while."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

FULL = OSError(errno.ENOSPC, "No space left on device")
WAITS_FOR_ROOM = "space on a full disk: [Errno 28] No space left on device"


def a_full_disk_then(made: Callable[[], Any]) -> Callable[[], Any]:
    """`made`, after three calls that find no room."""
    tries = iter([FULL, FULL, FULL])

    def make() -> Any:
        for error in tries:
            raise error
        return made()

    return make
