"""The record of a search at any earlier moment, restored from its journal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tune.space.dimensions import Scalar
from tune.space.search_settings import EARLY_ENDS
from tune.study.journal import Event
from tune.study.study import COSINE, Study
from tune.study.trial_record import COST, TRAINING_SECONDS, Trial

_OBJECTIVE = "objective"
_LIMITS = ("num_samples", *EARLY_ENDS)
"""Values of an event `limits`, in order; records without `stop_gain` have the first two."""
_CHECKPOINT = "replayed"
"""Placeholder for the path of a checkpoint, which no decision depends on."""


class Replay:
    """Applies the events of a journal, one after another.

    Only the parts of the record that decisions depend on are restored: trials, settings, states, values of
    the objective, sentence pairs seen, takeovers and limits.

    Args:
        recorded: The record with its journal.

    Attributes:
        study: The record after the events applied so far; in memory.
        limits: The search's limits at this moment, by setting; empty: not recorded.
    """

    def __init__(self, recorded: Study) -> None:
        self._recorded = recorded
        self.study = Study(None, recorded.mode, carried=recorded.carried, proposals=recorded.proposals)
        self.limits: dict[str, float | None] = {}
        self._reports: dict[int, dict[int, dict[str, float]]] = {}

    def events(self) -> Iterator[tuple[Event, Event | None]]:
        """Yield each event before it is applied, with the next event; None after the last one.

        The caller applies the event with `apply`.
        """
        events = list(self._recorded.journal or ())
        yield from zip(events, [*events[1:], None], strict=True)

    def apply(self, event: Event) -> None:
        """Apply an event to the record."""
        study, number, detail = self.study, event.number, event.detail
        match event.kind:
            case "limits":
                self.limits = dict.fromkeys(_LIMITS) | dict(zip(_LIMITS, detail, strict=False))
            case "add":
                study.add(self._settings(number, n_takeovers=0))
            case "report":
                self._report(number, *detail)
            case "verdict":
                study.decide(number, detail[0])
            case "finish":
                study[number].checkpoint = _CHECKPOINT if detail[1] else None
                study.finish(number, detail[0])
            case "rewind":
                self._rewind(study[number], detail[0])
            case "resume":
                study.resume(number)
            case "take_over":
                donor = detail[0]
                params = self._settings(number, n_takeovers=len(study[number].lineage) + 1)
                study.take_over(number, donor, params)
                self._reports[number] = dict(self._reports.get(donor, {}))

    def _settings(self, number: int, n_takeovers: int) -> dict[str, Scalar]:
        """The settings of a trial after a number of takeovers."""
        trial = self._recorded[number]
        of_stages = [*(step.params for step in trial.lineage), trial.params]
        return dict(of_stages[n_takeovers])

    def _report(
        self,
        number: int,
        pairs: int,
        value: float | None,
        cosine: float | None = None,
        seconds: float | None = None,
    ) -> None:
        metrics = {"pairs_seen": float(pairs), _OBJECTIVE: math.nan if value is None else value}
        if cosine is not None:
            metrics[COSINE] = cosine
        if seconds is not None:
            metrics[TRAINING_SECONDS] = seconds
        known = self._recorded[number].metrics  # the cost is equal in all reports
        metrics |= {name: cost for name, cost in known.items() if name.startswith(COST)}
        self._reports.setdefault(number, {})[pairs] = metrics
        self.study.report(number, metrics, _OBJECTIVE)

    def _rewind(self, trial: Trial, pairs: int) -> None:
        trial.checkpoint_pairs = pairs
        trial.checkpoint_metrics = dict(self._reports.get(trial.number, {}).get(pairs, {}))
        self.study.rewind(trial.number)
