"""A search as another terminal sees it: read from its directory, whether it runs, rests or is done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.table import Table

from themo.errors import InputError
from themo.process.output import duration, typed
from themo.process.progress import console
from tune.results.best_trials import best_so_far, counts_in_words, show
from tune.study.limits import is_whole, used_up
from tune.study.naming import SEARCH_FILE, STUDY_FILE, is_held
from tune.study.search import Search, read_search, search_folders
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.study.tried import most_trials
from tune.study.work_time import most_at_once, seconds_left, worked_seconds

Activity = Literal["running", "interrupted", "finished", "not begun"]

_TOP = 5
_SETTINGS_WIDTH = 60
"""Columns of a trial's settings, which take several lines: in a pipe nothing else would limit a row."""


@dataclass(frozen=True)
class Status:
    """How a search stands.

    Attributes:
        folder: Its directory.
        search: What it was begun with.
        study: Its record, as it was last written.
        activity: What goes on.
        training_seconds: Time in which at least one trial was at work.
    """

    folder: Path
    search: Search
    study: Study
    activity: Activity
    training_seconds: float

    @property
    def pairs_per_second(self) -> float | None:
        """Sentence pairs of all trials over the time of training; None before the first report."""
        pairs = sum(trial.pairs_seen for trial in self.study)
        return pairs / self.training_seconds if self.training_seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Of training, as `work_time.seconds_left` has it, with as many slots as there have been."""
        if self.activity == "finished":
            return None
        space, slots = self.search.space, max(1, most_at_once(self.study))
        return seconds_left(
            self.study, most_trials(self.study, space), len(space.first), slots, self.search.settings
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many trials there are of each state; without a driver none is running."""
        return counts_in_words(self.study.counts(), at_rest=self.activity != "running")

    @property
    def failures(self) -> list[Trial]:
        """The trials that failed, in their order."""
        return [trial for trial in self.study if trial.state == "FAIL"]

    def to_json(self) -> dict[str, Any]:
        """For ``status --json``."""
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
            "failures": [{"trial": trial.number, "reason": trial.reason} for trial in self.failures],
        }

    def to_table(self) -> Table:
        """The trials at work and the best of the others, a row each."""
        at_work = [trial for trial in self.study if trial.state == "RUNNING"]
        view = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("trial", "state", self.search.objective, "pairs"):
            view.add_column(heading, justify="left" if heading == "state" else "right")
        view.add_column("settings", max_width=_SETTINGS_WIDTH, overflow="fold")
        others = [trial for trial in self.study.ranked() if trial.state != "RUNNING"]
        for trial in [*at_work, *others[:_TOP]]:
            best = trial.best(self.study.mode)
            view.add_row(
                str(trial.number),
                trial.stand(at_rest=self.activity != "running"),
                "" if best is None else f"{best:.4f}",
                f"{trial.pairs_seen:,}",
                " ".join(f"{name}={show(value)}" for name, value in trial.params.items()),
            )
        return view

    def lines(self) -> list[str]:
        """What there is to say beside the table."""
        total = most_trials(self.study, self.search.space)
        states = ", ".join(f"{n} {state}" for state, n in self.counts.items() if n)
        said = [f"Search {self.search.name} ({self.activity}): {len(self.study)} of {total} trials begun"]
        if states:
            said[0] += f": {states}"
        if told := used_up(self.study, self.search.space):
            said.append(told)
        if self.study.leader():
            said.append(f"So far: {best_so_far(self.study, self.search.objective)}")
        if self.pairs_per_second is not None:
            said.append(
                f"Training for {duration(self.training_seconds)}, {self.pairs_per_second:,.0f} pairs/s"
            )
            if self.seconds_left is not None:
                said[-1] += f", about {duration(self.seconds_left)} left"
        if self.activity in ("interrupted", "not begun"):
            logs_dir = self.folder.resolve().parent.parent
            where = [] if logs_dir == Path("logs").resolve() else ["--logs-dir", str(logs_dir)]
            said.append(f"Go on with it: {typed('tune', '--resume', self.search.name, *where)}")
        said += [
            f"Trial {trial.number} failed: {trial.reason or 'no reason is known'}" for trial in self.failures
        ]
        return said


def read_status(folder: Path) -> Status:
    """The status of a search directory; nothing in it is changed.

    Raises:
        InputError: There is no search, or a file of it is damaged.
    """
    search = read_search(folder, asked_by="status NAME")
    path = folder / STUDY_FILE
    study = Study.read(path) if path.exists() else Study(None, search.mode)
    if is_held(folder):
        return Status(folder, search, study, "running", worked_seconds(study))
    study.come_to_rest()
    activity: Activity = "interrupted"
    if is_whole(study, search.space):
        activity = "finished"
    elif not path.exists():
        activity = "not begun"
    return Status(folder, search, study, activity, worked_seconds(study))


def read_all(logs_dir: Path) -> list[Status]:
    """All searches of a logs directory that can be read, the newest first; the others are told."""
    found = []
    for folder in search_folders(logs_dir / "tune"):
        try:
            found.append(((folder / SEARCH_FILE).stat().st_mtime_ns, read_status(folder)))
        except InputError as error:
            console.print(f"Left out: {error}")
    return [status for _, status in sorted(found, key=lambda pair: -pair[0])]


def overview(every: Iterable[Status], starting: Iterable[str] = ()) -> Table:
    """A row a search; those that are starting, of which nothing else is known, first."""
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("search", "state", "trials done", "best", "objective"):
        view.add_column(heading, justify="right" if heading in ("trials done", "best") else "left")
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
