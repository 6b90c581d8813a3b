"""How long a search has taken, and how much of that its trials were at work."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from tune.study import Study


def sessions(study: Study) -> dict[int, tuple[float, float]]:
    """The first start and the last end of work in each session that is known; Unix time."""
    found: dict[int, tuple[float, float]] = {}
    for stint in (stint for trial in study for stint in trial.stints):
        start, end = found.get(stint.session, (stint.started, stint.ended))
        found[stint.session] = min(start, stint.started), max(end, stint.ended)
    return found


def session_seconds(study: Study) -> float:
    """What the sessions took; the pauses between them left out."""
    return sum(end - start for start, end in sessions(study).values())


def worked_seconds(study: Study) -> float:
    """The time in which at least one trial was at work."""
    return covered((stint.started, stint.ended) for trial in study for stint in trial.stints)


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals of time."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def most_at_once(study: Study) -> int:
    """The most trials that were ever at work together: the slots, whatever their machines' names.

    A container gets another name whenever it is started.
    """
    changes = [
        change
        for trial in study
        for stint in trial.stints
        for change in ((stint.started, 1), (stint.ended, -1))
    ]
    return max(accumulate(step for _, step in sorted(changes)), default=0)  # an end comes before a start


def busy_share(study: Study, slots: int) -> float:
    """Share of the time of that many slots spent in training; pauses between sessions left out."""
    slot_seconds = slots * session_seconds(study)
    return sum(trial.seconds for trial in study) / slot_seconds if slot_seconds > 0 else 0.0
