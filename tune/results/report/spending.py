"""The best objective of a search against the sentence pairs that all its trials were trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tune.study.study import Study
from tune.study.trial_record import loss_of


def best_by_pairs(study: Study) -> list[tuple[int, float]]:
    """The best objective so far after each report that improves it, and after the last report.

    Pairs that a trial trains again after a crash count twice. Scores of failed trials do not count. A record
    without a journal does not keep the order of reports: its trials count one after another.

    Returns:
        Sentence pairs of all trials so far, and the best objective so far.
    """
    points: list[tuple[int, float]] = []
    spent, best = 0, None
    for number, pairs, value in _reports(study):
        spent += pairs
        if value is None or study[number].state == "FAIL":
            continue
        if best is None or loss_of(value, study.mode) < loss_of(best, study.mode):
            best = value
            points.append((spent, best))
    return [*points, (spent, best)] if best is not None and spent > points[-1][0] else points


def _reports(study: Study) -> Iterator[tuple[int, int, float | None]]:
    """Each report in order: the trial, the sentence pairs since its last report, and the objective."""
    if study.journal is None:
        for trial in study:
            seen = 0
            for pairs, value in sorted(trial.values.items()):
                yield trial.number, pairs - seen, value
                seen = pairs
        return
    at: dict[int, int] = {}
    for event in study.journal:
        match event.kind:
            case "report":
                pairs, value = int(event.detail[0]), event.detail[1]
                finite = value is not None and math.isfinite(value)
                yield event.number, max(0, pairs - at.get(event.number, 0)), value if finite else None
                at[event.number] = pairs
            case "rewind":
                at[event.number] = int(event.detail[0])
            case "take_over":
                at[event.number] = at.get(int(event.detail[0]), 0)
