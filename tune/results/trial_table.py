"""Writes ``trials.csv``, the table of a search's trials for people and spreadsheets."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from themo.files.atomic import write_text
from tune.space.search_space import Space
from tune.study.front import cost_metric
from tune.study.study import Study
from tune.study.trial_record import Trial

TRIALS_FILE = "trials.csv"

_FACTS = ("number", "state", "objective", "best_pairs", "pairs_seen", "seconds", "started", "ended")


class TrialTable:
    """One row a trial, in the order of proposal; times are Unix seconds.

    The file is rewritten whenever a trial ends. Rows of unchanged trials are cached: formatting all rows each
    time took more of a long search's driver than anything else (`python -m benchmarks search_overhead`).

    Args:
        study: The record.
        space: The search space; each dimension is a column.
        folder: Folder of the table.
        at_rest: Whether the session is over, so that running trials count as interrupted.
    """

    def __init__(self, study: Study, space: Space, folder: Path, *, at_rest: bool = False) -> None:
        self._study = study
        self._at_rest = at_rest
        self._searched = tuple(space.dimensions)
        self._second = space.search.second_objective
        self._path = folder / TRIALS_FILE
        self._columns: list[str] = []
        self._rows: dict[int, tuple[tuple[object, ...], str]] = {}

    def write(self) -> None:
        """Write the table, with a column for takeovers (`tune.schedulers.population`) if there were any.

        Raises:
            OSError: The write failed; the previous table is kept.
        """
        cost = [] if self._second is None else [cost_metric(self._second)]
        columns = [*_FACTS, *cost, *self._searched, "reason"]
        if any(trial.lineage for trial in self._study):
            columns.append("lineage")
        if columns != self._columns:
            self._columns, self._rows = columns, {}
        lines = [_line(self._columns), *(self._row(trial) for trial in self._study)]
        write_text(self._path, "".join(lines))

    def _row(self, trial: Trial) -> str:
        current = (
            trial.state,
            trial.reason,
            trial.pairs_seen,
            trial.seconds,
            trial.ended,
            len(trial.lineage),
        )
        known = self._rows.get(trial.number)
        if known is None or known[0] != current:
            cells = self._cells(trial)
            known = self._rows[trial.number] = current, _line([cells[name] for name in self._columns])
        return known[1]

    def _cells(self, trial: Trial) -> dict[str, object]:
        best = trial.best(self._study.mode)
        return {
            "number": trial.number,
            "state": trial.state_name(self._at_rest).upper(),
            "objective": "" if best is None else repr(best),
            "best_pairs": "" if best is None else trial.best_pairs(self._study.mode),
            "pairs_seen": trial.pairs_seen,
            "seconds": f"{trial.seconds:.3f}",
            "started": "" if trial.started is None else f"{trial.started:.3f}",
            "ended": "" if trial.ended is None else f"{trial.ended:.3f}",
            **{name: trial.params.get(name) for name in self._searched},
            **({} if self._second is None else {cost_metric(self._second): trial.cost}),
            "reason": trial.reason,
            "lineage": trial.lineage_in_words,
        }


def _line(cells: list[str] | list[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
