"""When trials only die and fail, one after another: then something is broken, and takes all that are left.

A GPU that has fallen off its bus ends a trial within seconds and is free for the next one, while the others
train. So a session does not go on for ever without a report from any trial.
"""

from __future__ import annotations

from collections.abc import Callable

from ray.tune import Stopper

MORE_THAN_SLOTS = 3
"""One cause that passes can take as many trials as are at work, but no others: a machine that goes, settings
of one range that were proposed together. Those come first again. When more than a few others have come to
no report either, the cause has stayed."""


class Breakdown(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends a session in which so many trials were lost since the last report of any.

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
        """A trial's worker has died, or it has failed; not by what it computed.

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
