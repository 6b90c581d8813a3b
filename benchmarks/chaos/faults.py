"""The faults of a round, and their times."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["worker", "node", "driver", "server", "disk"]
"""Kinds of faults: the process to kill; the disk is filled instead."""

KINDS: tuple[Kind, ...] = get_args(Kind)

EACH_ONCE: Mapping[Kind, int] = {"worker": 1, "node": 1, "driver": 3, "server": 1, "disk": 1}
MANY: Mapping[Kind, int] = {"worker": 15, "node": 4, "driver": 3, "server": 5, "disk": 4}

_LONGEST_DELAY = 3.0


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: Kind of the fault.
        after: Total number of reports started before the fault.
        delay: Further delay in seconds, to hit moments without reports too, such as a driver's start.
        lasts: Seconds until the repair, which adds a node, resumes the driver, restarts the server, or
            frees the disk.
    """

    kind: Kind
    after: int
    delay: float
    lasts: float


def draw(counts: Mapping[Kind, int], n_reports: int, rng: random.Random) -> list[Fault]:
    """Faults at random moments of a search of about `n_reports` reports, in order."""
    latest = round(0.6 * n_reports)  # several slots may make fewer reports, and delays are added
    faults = [
        Fault(kind, rng.randint(1, latest), rng.uniform(0, _LONGEST_DELAY), rng.uniform(0, 6))
        for kind in KINDS
        for _ in range(counts.get(kind, 0))
    ]
    return sorted(faults, key=lambda fault: (fault.after, fault.delay))
