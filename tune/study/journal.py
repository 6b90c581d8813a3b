"""The journal of a search: its events in the order in which they changed the record.

A decision depends on the reports that had arrived when it was made, and trials that run at once report in any
order. The journal keeps that order in ``study.json``, so that `tune.study.replay` restores the record of any
moment. An event is one line, such as ``["report", 3, 8192, 0.71]``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args

from tune.study.trial_record import State

Kind = Literal["limits", "add", "report", "verdict", "finish", "rewind", "resume", "take_over"]

SEARCH = -1
"""Number in an event of the search as a whole."""


class Event(NamedTuple):
    """A change of the record.

    Attributes:
        kind: ``limits``: the search's limits from here on, `num_samples`, `stop_after_no_gain` and, if given,
            `stop_gain` and `stop_chance`.
            ``add``: a proposed trial. ``report``: sentence pairs, the objective (None: not finite) and, where
            reported, the best cosine, which ranks equal trials, and the seconds of training. ``verdict``: the
            decided state, which takes effect with the trial's last checkpoint. ``finish``: the state, and
            whether there is a checkpoint. ``rewind``: the sentence pairs of the checkpoint that a trial
            returns to. ``resume``: a paused trial runs. ``take_over``: the donor
            (`tune.schedulers.population`).
        number: The trial; `SEARCH` for ``limits``.
        detail: Further values, by kind.
    """

    kind: Kind
    number: int
    detail: tuple[Any, ...] = ()


class Journal:
    """Events in order.

    Args:
        events: Past events.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events: list[Event] = []
        self._lines: list[str] = []
        for event in events:
            self._append(event)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    @property
    def n_added(self) -> int:
        """Number of proposed trials."""
        return sum(event.kind == "add" for event in self._events)

    def note(self, kind: Kind, number: int, *detail: Any) -> None:
        """Add an event; numbers that are not finite become None."""
        self._append(Event(kind, number, tuple(map(_finite, detail))))

    def last(self, kind: Kind) -> Event | None:
        """The last event of a kind; None if there is none."""
        return next((event for event in reversed(self._events) if event.kind == kind), None)

    def to_json(self) -> str:
        """The events as a JSON array, one line an event."""
        return "[\n" + ",\n".join(self._lines) + "\n]"

    def _append(self, event: Event) -> None:
        self._events.append(event)
        self._lines.append(json.dumps([event.kind, event.number, *event.detail]))


def read_journal(entries: Any, n_trials: int) -> Journal:
    """Convert the journal in ``study.json``.

    Args:
        entries: The journal's JSON array.
        n_trials: Number of trials in the record, to which the events refer.

    Raises:
        ValueError, TypeError: An entry is no event.
    """
    return Journal(_read_event(entry, n_trials) for entry in entries)


_NUMBER = (int, float, NoneType)
_DETAILS: dict[Kind, tuple[tuple[type, ...], ...]] = {
    "limits": (_NUMBER,) * 4,
    "add": (),
    "report": ((int,), _NUMBER, _NUMBER, _NUMBER),
    "verdict": ((str,),),
    "finish": ((str,), (bool,)),
    "rewind": ((int,),),
    "resume": (),
    "take_over": ((int,),),
}
"""Types of each further value of an event, by kind."""
_N_OPTIONAL: dict[Kind, int] = {"limits": 2, "report": 2}
"""Number of the last values that an event may lack."""


def _read_event(entry: Any, n_trials: int) -> Event:
    kind, number, *detail = entry
    allowed = _DETAILS.get(kind)
    is_event = (
        allowed is not None
        and isinstance(number, int)
        and (number == SEARCH if kind == "limits" else 0 <= number < n_trials)
        and len(allowed) - _N_OPTIONAL.get(kind, 0) <= len(detail) <= len(allowed)
        and all(map(isinstance, detail, allowed))
        and (kind not in ("verdict", "finish") or detail[0] in get_args(State))
        and (kind != "take_over" or 0 <= detail[0] < n_trials)
    )
    if not is_event:
        raise ValueError(f"{entry!r:.99} is no event of {n_trials} trials")
    return Event(kind, number, tuple(detail))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
