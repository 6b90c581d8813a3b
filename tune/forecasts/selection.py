"""Selects the reports from which trials are forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tune.study.trial_record import Mode, Trial, loss_of


class SeenReport(NamedTuple):
    """A report of a trial.

    Attributes:
        trial: The trial.
        pairs: Sentence pairs seen.
        best: The best objective of the trial until then.
    """

    trial: Trial
    pairs: float
    best: float


def last_report(trial: Trial, mode: Mode) -> SeenReport:
    """The last report of a trial that has one."""
    return _report(trial, len(trial.values) - 1, mode)


def _report(trial: Trial, i: int, mode: Mode) -> SeenReport:
    pairs = float(sorted(trial.values)[i])
    return SeenReport(trial, pairs, _best(trial, mode, pairs))


def _best(trial: Trial, mode: Mode, up_to: float = math.inf) -> float:
    best = trial.best(mode, up_to)
    if best is None:
        raise ValueError(f"trial {trial.number} has no report to forecast from")
    return best


def choose_reports(trials: Sequence[Trial], mode: Mode, most: int) -> list[SeenReport]:
    """At most `most` reports: the last one of every trial, and others of the best trials.

    If there are more trials than half of `most`, the last reports are those of trials at evenly spaced ranks,
    so that good and bad trials are represented. The others are the first reports and those at doubled
    distances, the best trials first.
    """
    ranked = sorted(trials, key=lambda trial: (loss_of(_best(trial, mode), mode), trial.number))
    n_last = min(len(ranked), most // 2)
    with_last = {len(ranked) * i // n_last for i in range(n_last)}
    found = [last_report(ranked[rank], mode) for rank in sorted(with_last)]
    for rank, trial in enumerate(ranked):
        wanted = _spaced(len(trial.values))
        for i in wanted[:-1] if rank in with_last else wanted:
            if len(found) == most:
                return found
            found.append(_report(trial, i, mode))
    return found


def _spaced(n: int) -> list[int]:
    """Indices at doubled distances, and the last: 0, 1, 3, 7, ..., n - 1."""
    return sorted({min(2**k - 1, n - 1) for k in range(n.bit_length() + 1)})
