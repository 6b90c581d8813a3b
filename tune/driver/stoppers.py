"""Stoppers that end a session early: the time budget, and too many lost trials without a report."""

from __future__ import annotations

import time
from collections.abc import Callable

from ray.tune import Stopper

MORE_THAN_SLOTS = 3
"""Losses without a report, beyond the number of slots, that end a session. A temporary cause, such as a
machine that leaves, loses at most the running trials, which are retried."""


class TimeBudget(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends a session at its time budget, and records this end, unlike Ray's own stopper.

    Args:
        seconds: Time budget, from now on.

    Attributes:
        is_over: Whether the budget has ended the session.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.is_over = False

    def __call__(self, trial_id: str, result: object) -> bool:  # noqa: ARG002 -- Ray's names
        """False: no single trial is stopped."""
        return False

    def left(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self._end - time.monotonic())

    def stop_all(self) -> bool:
        """Whether the time is up."""
        self.is_over = self.is_over or self.left() == 0
        return self.is_over


class Breakdown(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends a session after too many lost trials without a report in between.

    A broken machine would fail all remaining trials: a GPU that has fallen off its bus ends a trial within
    seconds and is free for the next one, while the others train.

    Args:
        most: Returns the largest number of trials that have run at once.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._machines: dict[int, str] = {}

    def report(self) -> None:
        """Reset the count: a trial has reported."""
        self._machines.clear()

    def lose(self, number: int, machine: str) -> None:
        """Count a trial whose worker died or that failed; the caller leaves diverged trials out.

        Args:
            number: The trial; it counts once.
            machine: Name of its machine; empty if unknown.
        """
        self._machines[number] = machine

    def __call__(self, trial_id: str, result: object) -> bool:  # noqa: ARG002 -- Ray's names
        """False: no single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Whether too many trials were lost."""
        return len(self._machines) > self._most() + MORE_THAN_SLOTS

    def __str__(self) -> str:
        """The cause, as part of an error message."""
        machines = ", ".join(sorted({name for name in self._machines.values() if name}))
        where = f" on {machines}" if machines else ""
        return f"{len(self._machines)} trials died or failed{where} without a report in between"
