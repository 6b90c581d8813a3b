"""What goes wrong in a round, and when."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["worker", "node", "driver", "server", "disk"]
"""Of what a process is killed; the disk is filled."""

KINDS: tuple[Kind, ...] = get_args(Kind)

EACH_ONCE: Mapping[Kind, int] = {"worker": 1, "node": 1, "driver": 3, "server": 1, "disk": 1}
MANY: Mapping[Kind, int] = {"worker": 15, "node": 4, "driver": 3, "server": 5, "disk": 4}

_LONGEST_DELAY = 3.0


@dataclass(frozen=True)
class Fault:
    """One of them.

    Attributes:
        kind: What.
        after: So many reports must have been begun in all.
        delay: Seconds after that; so also moments without reports are hit, such as a driver's start.
        lasts: Seconds until it is mended: a new node is added, the driver resumed, the server started, the
            disk freed.
    """

    kind: Kind
    after: int
    delay: float
    lasts: float


def draw(counts: Mapping[Kind, int], n_reports: int, rng: random.Random) -> list[Fault]:
    """Faults at random moments of a search of about so many reports, in their order."""
    latest = round(0.6 * n_reports)  # in several slots fewer reports may be made, and a delay comes on top
    faults = [
        Fault(kind, rng.randint(1, latest), rng.uniform(0, _LONGEST_DELAY), rng.uniform(0, 6))
        for kind in KINDS
        for _ in range(counts.get(kind, 0))
    ]
    return sorted(faults, key=lambda fault: (fault.after, fault.delay))
