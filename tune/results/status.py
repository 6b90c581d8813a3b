"""Status of a search, read from its directory by another process: running, interrupted or finished."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.table import Table

from themo.checkpoints.versions import REPORT_FILE
from themo.errors import InputError
from themo.files.run_folders import SEARCH_FILE, STUDY_FILE
from themo.process.output import about, duration, from_here, typed, with_command
from themo.process.progress import console
from tune.confirmation.verdict import is_finished, verdict
from tune.results.best_trials import best_in_words, cost_cell, counts_in_words, show
from tune.results.front import front_as_json
from tune.study.front import UNITS
from tune.study.limits import are_trials_done, early_end, used_up
from tune.study.naming import is_held
from tune.study.resource import number_of
from tune.study.search import Search, has_study, read_search, search_folders
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.study.tried import most_trials
from tune.study.work_time import most_at_once, seconds_left, worked_seconds

Activity = Literal["running", "interrupted", "finished", "not begun"]

_TOP = 5
_SETTINGS_WIDTH = 60
"""Width of the settings column, which wraps: in a pipe no terminal limits a row."""


@dataclass(frozen=True)
class Status:
    """Status of a search.

    Attributes:
        folder: The search directory.
        search: The search's definition.
        study: The record, as last saved.
        activity: Whether the search is running, interrupted, finished or not begun.
        training_seconds: Time in which at least one trial was training.
    """

    folder: Path
    search: Search
    study: Study
    activity: Activity
    training_seconds: float

    @property
    def pairs_per_second(self) -> float | None:
        """Sentence pairs of all trials by training time; None before a report, or if no work is kept."""
        pairs = sum(trial.pairs_seen for trial in self.study)
        return pairs / self.training_seconds if pairs and self.training_seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Estimated training time left (`work_time.seconds_left`), with the most slots used so far."""
        if self.activity == "finished" or are_trials_done(self.study, self.search.space):
            return None
        return seconds_left(self.study, self.search, max(1, most_at_once(self.study)))

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials in each state; without a driver none is running."""
        return counts_in_words(self.study.counts(), at_rest=self.activity != "running")

    @property
    def failures(self) -> list[Trial]:
        """The failed trials, in the order of proposal."""
        return [trial for trial in self.study if trial.state == "FAIL"]

    def to_json(self) -> dict[str, Any]:
        """The output of ``status --json``."""
        leader = self.study.leader()
        return {
            "search": self.search.name,
            "activity": self.activity,
            "trials": self.counts,
            "num_samples": self.search.space.search.num_samples,
            "objective": self.search.objective,
            "best": _best(leader, self.study) if leader else None,
            "training_seconds": self.training_seconds,
            "pairs_per_second": self.pairs_per_second,
            "seconds_left": self.seconds_left,
            "confirmation": None if (found := verdict(self.study)) is None else found.to_json(),
            "early_end": None if (end := early_end(self.study, self.search.space)) is None else end.to_json(),
            **front_as_json(self.search, self.study),
            "failures": [{"trial": trial.number, "reason": trial.reason} for trial in self.failures],
        }

    def to_table(self) -> Table:
        """A table with the running trials and the best of the others, one row each."""
        running = [trial for trial in self.study if trial.state == "RUNNING"]
        rules = self.search.space.search
        costs = [] if rules.second_objective is None else [UNITS[rules.second_objective]]
        view = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("trial", "state", self.search.objective, *costs, rules.resource):
            view.add_column(heading, justify="left" if heading == "state" else "right", overflow="fold")
        view.add_column("settings", max_width=_SETTINGS_WIDTH, overflow="fold")
        others = [trial for trial in self.study.ranked() if trial.state != "RUNNING"]
        for trial in [*running, *others[:_TOP]]:
            best = trial.best(self.study.mode)
            view.add_row(
                str(trial.number),
                trial.state_name(at_rest=self.activity != "running"),
                "" if best is None else f"{best:.4f}",
                *(cost_cell(trial) for _ in costs),
                number_of(trial, rules.resource),
                " ".join(f"{name}={show(value)}" for name, value in trial.params.items()),
            )
        if others[_TOP:]:
            n = len(others) - _TOP
            view.caption = (
                f"{n:,} more {'trial' if n == 1 else 'trials'}: python -m themo report {self.search.name}"
            )
        return view

    def lines(self) -> list[str]:
        """The lines above the table: progress, best trial, rate, resume command, failures."""
        total = most_trials(self.study, self.search.space)
        states = ", ".join(f"{n} {state}" for state, n in self.counts.items() if n)
        lines = [f"Search {self.search.name} ({self.activity}): {len(self.study)} of {total} trials started"]
        if states:
            lines[0] += f": {states}"
        if self.activity == "running" and not len(self.study):
            lines.append("Its data is prepared before the first trial")
        if notice := used_up(self.study, self.search.space):
            lines.append(notice)
        if (end := early_end(self.study, self.search.space)) is not None:
            lines.append(end.line(self.search.objective))
        if self.study.leader():
            best = best_in_words(self.study, self.search.objective)
            is_finished = self.activity == "finished"
            lines.append(best[0].upper() + best[1:] if is_finished else f"So far: {best}")
        if (found := verdict(self.study)) is not None:
            lines += found.lines()
        if self.training_seconds > 0:
            lines.append(f"Training for {duration(self.training_seconds)}")
            if self.pairs_per_second is not None:
                lines[-1] += f", {self.pairs_per_second:,.0f} pairs/s"
            if self.seconds_left is not None:
                lines[-1] += f", {about(self.seconds_left)} left"
        if self.activity in ("interrupted", "not begun"):
            logs_dir = self.folder.resolve().parent.parent
            where = [] if logs_dir == Path("logs").resolve() else ["--logs-dir", str(logs_dir)]
            lines.append(with_command("To resume: ", typed("tune", "--resume", self.search.name, *where)))
        if (report := self.folder / REPORT_FILE).exists():
            lines.append(f"Report: {from_here(report)}")
        lines += [
            f"Trial {trial.number} failed: {trial.reason or 'unknown reason'}" for trial in self.failures
        ]
        return lines


def read_status(folder: Path, asked_by: str = "status NAME") -> Status:
    """The status of a search directory, which is not changed.

    Args:
        folder: The search directory.
        asked_by: The command that an error message names.

    Raises:
        InputError: There is no search, or one of its files is damaged.
    """
    search = read_search(folder, asked_by)
    is_begun = has_study(folder)
    study = Study.read(folder / STUDY_FILE) if is_begun else Study(None, search.mode)
    if is_held(folder):
        return Status(folder, search, study, "running", worked_seconds(study))
    study.reset_to_checkpoints()
    activity: Activity = "interrupted"
    if is_finished(study, search):
        activity = "finished"
    elif not is_begun:
        activity = "not begun"
    return Status(folder, search, study, activity, worked_seconds(study))


def read_all(logs_dir: Path) -> list[Status]:
    """All readable searches of a logs directory, newest first; prints a line for each unreadable one."""
    found = []
    for folder in search_folders(logs_dir / "tune"):
        try:
            found.append(((folder / SEARCH_FILE).stat().st_mtime_ns, read_status(folder)))
        except InputError as error:
            console.print(f"Left out: {error}")
    return [status for _, status in sorted(found, key=lambda pair: -pair[0])]


def overview(every: Iterable[Status], starting: Iterable[str] = ()) -> Table:
    """A table with one row a search; starting searches first, with their names only."""
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("search", "state", "trials done", "best", "objective"):
        is_number = heading in ("trials done", "best")
        view.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for name in starting:
        view.add_row(name, "starting", "", "", "")
    for status in every:
        leader = status.study.leader()
        best = leader.best(status.study.mode) if leader else None
        view.add_row(
            status.search.name,
            status.activity,
            f"{status.study.n_done} of {most_trials(status.study, status.search.space)}",
            "" if best is None else f"{best:.4f}",
            status.search.objective,
        )
    return view


def _best(trial: Trial, study: Study) -> dict[str, Any]:
    return {"trial": trial.number, "value": trial.best(study.mode), "settings": dict(trial.params)}
