"""Decisions of a search: made during the search, and recomputed from its journal.

The driver and the command `why` share `decide`, so that the same record leads to the same decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tune.schedulers.explanation import Explanation
from tune.schedulers.rules import scheduler_of
from tune.schedulers.scheduler import Scheduler
from tune.space.search_space import Space
from tune.study.journal import Event
from tune.study.replay import Replay
from tune.study.resource import amount_of
from tune.study.study import Study
from tune.study.trial_record import State


@dataclass(frozen=True)
class Decision:
    """A recorded decision and its recomputation.

    Attributes:
        number: The trial.
        explanation: The decision recomputed from the record of that moment.
        decided: The recorded state; RUNNING: the trial continued, or was resumed.
        is_resume: Whether a paused trial was resumed; otherwise it was judged at a report.
        is_repeated: Whether the computed decision equals the recorded one.
        donor: The trial whose checkpoint a resumed one took over; None: its own.
    """

    number: int
    explanation: Explanation
    decided: State
    is_resume: bool
    is_repeated: bool
    donor: int | None = None


def decide(scheduler: Scheduler, space: Space, study: Study, number: int, before: float) -> Explanation:
    """The decision about a trial after its last report.

    Trials with trusted settings are never stopped early: they are references. They reach the first rung
    together, where a slow start would stop them by chance. With population based training they wait for the
    rounds like all trials.

    Args:
        scheduler: The scheduler of the search.
        space: The search space.
        study: All trials so far, including the report.
        number: The trial.
        before: Amount of the search's resource at its previous report.
    """
    found = scheduler.explain(study, number, before)
    if space.search.resource == "seconds":
        found = replace(found, seconds=study[number].training_seconds)
    if found.state == "RUNNING" or not _is_reference(space, study, number):
        return found
    return replace(found, state="RUNNING", is_trusted=True)


def _is_reference(space: Space, study: Study, number: int) -> bool:
    is_trusted = number < len(space.first) and space.search.scheduler != "pbt"
    return is_trusted and study[number].best(study.mode) is not None


def decisions(recorded: Study, space: Space, number: int | None = None) -> Iterator[Decision]:
    """Yield every recorded decision of a search, recomputed, in order.

    Reports between points of judgement, at which every trial continues, are left out if they were followed.

    Args:
        recorded: The record, with a journal.
        space: The search space. The journal's limits replace its own.
        number: A trial, whose decisions alone are computed; None: all trials.
    """
    replay = Replay(recorded)
    scheduler = scheduler_of(space.search, space)
    taken_over: int | None = None
    for event, following in replay.events():
        is_asked = number in (None, event.number)
        if event.kind in ("take_over", "resume") and is_asked and taken_over != event.number:
            yield _resumed(scheduler, replay.study, event)
        taken_over = event.number if event.kind == "take_over" else None
        is_report = event.kind == "report"
        before = amount_of(replay.study[event.number], space.search.resource) if is_report else 0
        replay.apply(event)
        if event.kind == "limits":
            space = _limited(space, replay)
            scheduler = scheduler_of(space.search, space)
        elif event.kind == "report" and is_asked:
            decided = _verdict(event, following)
            if decided in ("COMPLETE", "FAIL"):  # not decided by the scheduler
                continue
            found = decide(scheduler, space, replay.study, event.number, before)
            if found.where or found.state != decided:
                yield Decision(event.number, found, decided, False, found.state == decided)


def at_the_end(recorded: Study, space: Space, number: int) -> Explanation:
    """The place of a trial that a search left paused, at the end of the record."""
    return scheduler_of(space.search, space).explain_waiting(recorded, number)


def _resumed(scheduler: Scheduler, study: Study, event: Event) -> Decision:
    donor = event.detail[0] if event.kind == "take_over" else None
    is_repeated = scheduler.next_paused(study) == event.number
    is_repeated = is_repeated and scheduler.donor(study, event.number) == donor
    found = replace(scheduler.explain_waiting(study, event.number), state="RUNNING")
    return Decision(event.number, found, "RUNNING", True, is_repeated, donor)


def _limited(space: Space, replay: Replay) -> Space:
    return replace(space, search=space.search.model_copy(update=replay.limits))


def _verdict(report: Event, following: Event | None) -> State:
    """The state that was decided at a report: the verdict that follows it; RUNNING if none does."""
    if following is None or (following.kind, following.number) != ("verdict", report.number):
        return "RUNNING"
    return following.detail[0]  # type: ignore[no-any-return]
