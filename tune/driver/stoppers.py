"""What ends a session before all its trials are done: its time is up, or trials only die and fail."""

from __future__ import annotations

import time
from collections.abc import Callable

from ray.tune import Stopper

MORE_THAN_SLOTS = 3
"""A cause that passes, such as a machine that goes, takes no more trials than are at work, and these are the
next to run again. Where a few more than those were lost, and none has reported, the cause has stayed."""


class TimeBudget(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends a session when its time is up, and knows that this was why: Ray's own tells nobody.

    Args:
        seconds: From now on.

    Attributes:
        is_over: Whether it has ended the session.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.is_over = False

    def __call__(self, trial_id: str, result: object) -> bool:  # noqa: ARG002 -- Ray's names
        """False: no single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether the time is up."""
        self.is_over = self.is_over or time.monotonic() >= self._end
        return self.is_over


class Breakdown(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends a session when too many trials were lost since any of them last reported.

    What is broken would take all that are left: a GPU that has fallen off its bus ends a trial within seconds
    and is free for the next one, while the others train. So a session does not go on for ever without a
    report from any trial.

    Args:
        most: Trials that have been at work at once at most.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._machines: dict[int, str] = {}

    def report(self) -> None:
        """A trial has reported: what was lost before counts no more."""
        self._machines.clear()

    def lose(self, number: int, machine: str) -> None:
        """A trial's worker has died, or the trial has failed; one that diverged is not counted.

        Args:
            number: The trial; it counts once.
            machine: Where that was; empty where it is not known.
        """
        self._machines[number] = machine

    def __call__(self, trial_id: str, result: object) -> bool:  # noqa: ARG002 -- Ray's names
        """False: no single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether too many were lost."""
        return len(self._machines) > self._most() + MORE_THAN_SLOTS

    def __str__(self) -> str:
        """What has happened, in a few words."""
        machines = ", ".join(sorted({name for name in self._machines.values() if name}))
        where = f" on {machines}" if machines else ""
        return f"{len(self._machines)} trials died or failed{where}, and none has reported meanwhile"
