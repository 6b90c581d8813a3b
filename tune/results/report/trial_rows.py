"""The table of all trials: columns and cells with the keys by which the script of the page sorts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from themo.process.output import duration
from tune.results.best_trials import cost_cell, show_setting
from tune.space.dimensions import Scalar
from tune.space.search_settings import SecondObjective
from tune.study.front import UNITS
from tune.study.study import Study
from tune.study.trial_record import Trial

STATES = {
    "complete": "completed",
    "pruned": "stopped early",
    "fail": "failed",
    "running": "running",
    "interrupted": "interrupted",
    "paused": "paused",
}
"""Words for the states of trials."""

Direction = Literal["ascending", "descending"]


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: Heading of the column.
        is_number: Whether its cells are numbers, aligned at the right.
        first: Direction of the first sort by it.
        sorted: Direction in which the rows are sorted by it; None: they are not.
    """

    name: str
    is_number: bool = False
    first: Direction = "ascending"
    sorted: Direction | None = None


@dataclass(frozen=True)
class Cell:
    """A cell: its text, and its sort key; None sorts last in both directions."""

    text: str
    key: float | str | None


@dataclass(frozen=True)
class Row:
    """The row of a trial.

    Attributes:
        number: The trial.
        is_best: Whether it is the winner, or the best so far.
        cells: One for each column.
    """

    number: int
    is_best: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class TrialTable:
    """The table of all trials, best first, then those without a valid score."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def trial_table(
    study: Study,
    best: Trial | None,
    names: Iterable[str],
    objective: str,
    at_rest: bool,
    second: SecondObjective | None = None,
) -> TrialTable:
    """The table of all trials of a search.

    Args:
        study: The record.
        best: The winner, or the best trial so far.
        names: The searched settings.
        objective: Name of the objective.
        at_rest: Whether no process runs the search: a running trial is interrupted then.
        second: The second objective; None with one objective.
    """
    names, costs = list(names), [] if second is None else [second]
    first: Direction = "descending" if study.mode == "max" else "ascending"
    columns = (
        Column("trial", is_number=True),
        Column("state"),
        Column(objective, is_number=True, first=first, sorted=first),
        *(Column(UNITS[name], is_number=True) for name in costs),
        Column("pairs", is_number=True, first="descending"),
        Column("time", is_number=True, first="descending"),
        *(Column(name, is_number=_is_number(study, name)) for name in names),
        Column("why"),
    )
    unscored = [trial for trial in study if not trial.is_scored]
    ordered = [*study.ranked(), *unscored]
    return TrialTable(
        columns, tuple(_row(study, trial, best, names, at_rest, bool(costs)) for trial in ordered)
    )


def _row(
    study: Study, trial: Trial, best: Trial | None, names: Sequence[str], at_rest: bool, has_cost: bool
) -> Row:
    value = trial.best(study.mode)
    state = STATES[trial.state_name(at_rest)]
    why = reason_of(trial)
    cells = (
        Cell(str(trial.number), trial.number),
        Cell(state, state),
        Cell("" if value is None else f"{value:.4f}", value),
        *([Cell(cost_cell(trial), trial.cost)] if has_cost else []),
        Cell(f"{trial.pairs_seen:,}", trial.pairs_seen),
        Cell(duration(trial.seconds), trial.seconds),
        *(_setting(trial, name) for name in names),
        Cell(why, why or None),
    )
    return Row(trial.number, best is not None and trial.number == best.number, cells)


def reason_of(trial: Trial) -> str:
    """Why a trial failed, was stopped or is paused, in one line; empty otherwise."""
    return trial.reason if trial.state == "FAIL" else trial.why or trial.reason


def _setting(trial: Trial, name: str) -> Cell:
    if name not in trial.params:
        return Cell("-", None)
    value = trial.params[name]
    return Cell(show_setting(trial, name), float(value) if _is_counted(value) else str(value))


def _is_number(study: Study, name: str) -> bool:
    """Whether all values of a setting are numbers."""
    return all(_is_counted(trial.params[name]) for trial in study if name in trial.params)


def _is_counted(value: Scalar) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
