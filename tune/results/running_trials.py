"""Lines of the live view about the running trials, fitted to a terminal's width and height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from tune.results.best_trials import show
from tune.schedulers.rules import scheduler_of
from tune.study.resource import number_of
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.study.work_time import rest_of_run

_GAP = "  "
_LEAST_SETTINGS_WIDTH = 30
"""Settings with fewer columns beside a row are listed below it."""

_INDENT = 4
"""Columns before settings below a row."""


@dataclass(frozen=True)
class RunningTrials:
    """A row for each running trial: number, amount of the resource, objective, forecast, device, settings.

    The column of forecasts appears once the scheduler predicts an end.

    Attributes:
        study: The record.
        search: The search.
    """

    study: Study
    search: Search

    def lines(self, numbers: Sequence[int], width: int, height: int) -> list[str]:
        """A heading and the rows; settings wrap, and are cut where the height is too small.

        Args:
            numbers: The running trials.
            width: Columns.
            height: Most lines; where not every trial has one, the last line counts those left out.
        """
        if not numbers or height < 2:
            return []
        room = height - 1
        shown = list(numbers) if len(numbers) <= room else list(numbers)[: room - 1]
        trials = [self.study[number] for number in shown]
        lines = self._table(trials, width, max(1, room // max(1, len(numbers))))
        if len(shown) < len(numbers):
            lines.append(f"and {len(numbers) - len(shown)} more")
        return lines

    def _table(self, trials: Sequence[Trial], width: int, lines_each: int) -> list[str]:
        rules = self.search.space.search
        scheduler = scheduler_of(rules, self.search.space)
        forecasts = [scheduler.forecast(self.study, trial.number) for trial in trials]
        columns = {
            "trial": [str(trial.number) for trial in trials],
            rules.resource: [self._amount(trial) for trial in trials],
            "objective": [self._objective(trial) for trial in trials],
        }
        if any(forecasts):
            columns["forecast"] = ["" if f is None else f.short for f in forecasts]
        machines = {trial.machine for trial in trials}
        columns["device"] = [_device(trial, has_machine=len(machines) > 1) for trial in trials]
        widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items()}

        def row(cells: Sequence[str]) -> str:
            return _GAP.join(cell.rjust(widths[name]) for name, cell in zip(columns, cells, strict=True))

        beside = len(row([""] * len(columns))) + len(_GAP)
        is_beside = width - beside >= _LEAST_SETTINGS_WIDTH
        indent, n_lines = (beside, lines_each) if is_beside else (_INDENT, lines_each - 1)
        names = self._differing(trials)
        lines = [row(list(columns)) + (_GAP + "settings that differ" if is_beside else "")]
        for trial, *cells in zip(trials, *columns.values(), strict=True):
            parts = _cut(_settings(trial, names), width - indent, n_lines)
            head = row(cells)
            if is_beside:
                head = (head + _GAP + parts.pop(0)).rstrip()
            lines += [head, *(" " * indent + part for part in parts)]
        return lines

    def _differing(self, trials: Sequence[Trial]) -> list[str]:
        """The settings that are not equal in the running trials and the best one."""
        leader = self.study.leader()
        compared = [*trials, *([] if leader is None else [leader])]
        names = dict.fromkeys(name for trial in compared for name in trial.params)
        return [name for name in names if len({repr(trial.params.get(name)) for trial in compared}) > 1]

    def _amount(self, trial: Trial) -> str:
        rules = self.search.space.search
        rest = rest_of_run(trial, self.search.settings, rules.trial_seconds)
        share = "" if rest is None else f" {100 / (1 + rest):.0f} %"
        return f"{number_of(trial, rules.resource)}{share}"

    def _objective(self, trial: Trial) -> str:
        best = trial.best(self.study.mode)
        return "" if best is None else f"{best:.4f}"


def _settings(trial: Trial, names: Sequence[str]) -> str:
    return " ".join(f"{name}={show(trial.params[name])}" for name in names if name in trial.params)


def _device(trial: Trial, has_machine: bool) -> str:
    """The device of a trial, such as ``0.5 GPU`` or ``GPU node-3``; empty before it is known."""
    if trial.gpus is None:
        return ""
    number = "" if trial.gpus == 1 else f"{trial.gpus:g} "
    kind = f"{number}GPU" if trial.gpus else "CPU"
    return f"{kind} {trial.machine}".rstrip() if has_machine else kind


def _cut(text: str, width: int, most: int) -> list[str]:
    """Return the text cut to a number of lines of a width, 0 for none; an ellipsis marks a cut."""
    lines = wrap(text, width, break_on_hyphens=False) or [""]
    if len(lines) <= most or not most:
        return lines[:most]
    return [*lines[: most - 1], lines[most - 1][: width - 1] + "…"]
