"""Results of a search for people: ``best.yaml``, ``best/`` and the table of the best trials."""

from __future__ import annotations

import filecmp
import itertools
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from themo.checkpoints.versions import add_to_summary
from themo.config.settings import Settings
from themo.files.atomic import old_name, put_in_place, unfinished, write_text
from themo.files.run_folders import BEST_VERSION
from themo.process.output import WIDTH_OF_FILES
from tune.cluster.storage import Storage
from tune.confirmation.plan import Unconfirmed
from tune.confirmation.verdict import Verdict
from tune.space.dimensions import Scalar
from tune.space.search_settings import SearchSettings
from tune.study.front import UNITS
from tune.study.remaining_gain import RemainingGain
from tune.study.resource import HEADINGS, number_of
from tune.study.study import Study
from tune.study.trial_record import Mode, State, Trial

BEST_SETTINGS = "best.yaml"

_ENDED = "ended"

_BROKEN_WIDTH = 9
"""Least width of a trial's column whose values are broken, for `1,234,567` and `complete`."""
_PADDING = 3
"""Columns between two columns of a table."""
_EDGES = 4
"""Columns left of the first and right of the last column of a table."""
_PIECE = re.compile("[^-+*/]*[-+*/]?")
"""A piece of a value that is too long for a line: up to an operator of a loss, or a hyphen or slash."""


@dataclass(frozen=True)
class SearchResult:
    """Results of a session: of a finished search, or of one whose time budget is spent.

    Attributes:
        folder: The search directory.
        objective: Name of the optimized metric.
        mode: Whether the objective is maximized or minimized.
        counts: Number of trials in each state; RUNNING trials are interrupted.
        best: The winner.
        slots: Largest number of trials that a session could run at once.
        busy: Share of the slots' time in `seconds` that was spent in training.
        seconds: Time from the first start to the last end, without pauses between sessions.
        top: The best trials, best first.
        num_samples: Requested number of trials.
        is_whole: Whether all trials and all runs of the confirmation are done; otherwise the time budget
            ended the session.
        confirmation: Comparison of the winner with its rivals over further seeds; None: no confirmation.
        unconfirmed: Reason for no confirmation; None: the winner is confirmed, or confirmation is off.
        early_end: The small chance of a gain that ended the search before its last trial; None: it did not.
        front: The second objective and the front, by `tune.results.front`; empty with one objective.
        search: Settings of the search.
    """

    folder: Path
    objective: str
    mode: Mode
    counts: Mapping[State, int]
    best: Trial
    slots: int
    busy: float
    seconds: float
    top: tuple[Trial, ...]
    num_samples: int
    is_whole: bool
    confirmation: Verdict | None = None
    unconfirmed: Unconfirmed | None = None
    early_end: RemainingGain | None = None
    front: Mapping[str, Any] = field(default_factory=dict)
    search: SearchSettings = field(default_factory=SearchSettings)

    @property
    def value(self) -> float:
        """The winner's objective."""
        return self.best.values[self.best.best_pairs(self.mode)]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object for ``tune --json``."""
        return {
            "folder": str(self.folder),
            "objective": self.objective,
            "mode": self.mode,
            "trials": counts_in_words(self.counts, at_rest=True),
            "best": {"trial": self.best.number, "value": self.value, "settings": dict(self.best.params)},
            "best_settings": str(self.folder / BEST_SETTINGS),
            "best_version": str(self.folder / BEST_VERSION),
            "slots": self.slots,
            "slots_busy": self.busy,
            "seconds": self.seconds,
            "num_samples": self.num_samples,
            "is_whole": self.is_whole,
            "confirmation": None if self.confirmation is None else self.confirmation.to_json(),
            "early_end": None if self.early_end is None else self.early_end.to_json(),
            **self.front,
        }


def write_best(
    winner: Trial, settings: Settings, storage: Storage, folder: Path, confirmation: Sequence[str] = ()
) -> None:
    """Copy the winner's version to ``best/`` and write its settings to ``best.yaml``.

    An existing ``best/`` of the same version is kept, with its test and its report. ``best.yaml`` is removed
    before ``best/`` is replaced and written last, so that it never belongs to another version. After a kill,
    call this function again.

    If the settings changed during training (`tune.schedulers.population`), ``best.yaml`` holds the last
    settings with a note, and the version's ``summary.json`` lists the takeovers. A note also says if the
    winner was stopped, paused or interrupted before its end.

    Args:
        winner: The winning trial, with the path of its version relative to `storage`.
        settings: Base settings of the search.
        storage: The storage of versions.
        folder: The search directory.
        confirmation: Lines about the winner's lead with further seeds, for the head of ``best.yaml``.
    """
    chosen = settings.override(winner.params, source="study.json")
    note = "".join(f"# {line}\n" for line in confirmation)
    if winner.lineage:
        note += (
            "# The last settings of a run whose settings changed during training: training with them is\n"
            f"# another run. The winner, trial {winner.number}, continued {winner.lineage_in_words};\n"
            "# study.json holds the settings before that.\n"
        )
    if winner.cut:
        note += f"# Trial {winner.number}: {winner.cut}. A run with these settings continues to its end.\n"
    best = folder / BEST_VERSION
    with unfinished(best) as new:
        storage.retry_until_reachable(partial(_fetch_again, storage, str(winner.checkpoint), new))
        if winner.cut:
            add_to_summary(new, state="stopped early")  # written when the trial might have gone on
        if winner.lineage:
            lineage = [{"donor": step.donor, "pairs": step.pairs} for step in winner.lineage]
            add_to_summary(new, lineage=lineage)
        if not _holds(best, new):
            (folder / BEST_SETTINGS).unlink(missing_ok=True)
            put_in_place(new, best)
    shutil.rmtree(old_name(best), ignore_errors=True)  # left by a kill
    write_text(folder / BEST_SETTINGS, note + chosen.to_yaml())


def _fetch_again(storage: Storage, path: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # a partial copy of an earlier attempt
    storage.fetch(path, folder)


def _holds(folder: Path, other: Path) -> bool:
    """Whether `folder` contains all files of `other`, byte by byte."""
    pairs = [(folder / path.relative_to(other), path) for path in other.rglob("*") if path.is_file()]
    same = (path.is_file() and filecmp.cmp(path, copy, shallow=False) for path, copy in pairs)
    return folder.is_dir() and all(same)


def counts_in_words(counts: Mapping[State, int], at_rest: bool) -> dict[str, int]:
    """Number of trials in each state; without a driver (`at_rest`), running ones are interrupted."""
    named = {state.lower(): n for state, n in counts.items()}
    under_way = named.pop("running")
    return {"running": 0 if at_rest else under_way, "interrupted": under_way if at_rest else 0} | named


def best_so_far(study: Study, objective: str) -> str:
    """One line with the best trial so far and its settings."""
    leader = study.leader()
    if leader is None:
        return best_in_words(study, objective)
    settings = " ".join(f"{name}={show(value)}" for name, value in leader.params.items())
    return f"{best_in_words(study, objective)}: {settings}"


def best_in_words(study: Study, objective: str) -> str:
    """One line with the best trial so far, without its settings."""
    leader = study.leader()
    if leader is None:
        return "no report yet"
    best = leader.best(study.mode)
    lost = "" if leader.is_done or best == leader.saved(study.mode) else ", not saved yet"
    return f"best {objective} {best:.4f} in trial {leader.number}{lost}"


def table(result: SearchResult, searched: Iterable[str], columns: int = WIDTH_OF_FILES) -> Table:
    """A table of the best trials, one column a trial, so that many settings fit into 80 columns.

    Args:
        result: The result.
        searched: Names of the settings to show.
        columns: Width of the terminal; a narrow one breaks long values at operators and hyphens, and shows
            fewer trials.
    """
    names = list(searched)
    labels = _labels(result, names)
    of_trials = [_column(result, trial, names) for trial in result.top]
    room = columns - max(map(len, ("trial", *labels))) - _EDGES
    if _n_fitting(of_trials, room) < len(of_trials):
        of_trials = [[_broken(cell) for cell in cells] for cells in of_trials]
    n_shown = max(1, _n_fitting(of_trials, room))
    left_out = len(of_trials) - n_shown
    view = Table(
        title=f"Best trials by {result.objective}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption=f"{left_out} more in a wider terminal and in trials.csv" if left_out else None,
        caption_justify="left",
    )
    view.add_column("trial", overflow="fold")
    for trial in result.top[:n_shown]:
        view.add_column(str(trial.number), justify="right", overflow="fold")
    for label, *cells in zip(labels, *of_trials[:n_shown], strict=True):
        view.add_row(label, *cells, end_section=label == _ENDED)
    return view


def _labels(result: SearchResult, names: Sequence[str]) -> list[str]:
    second = result.search.second_objective
    costs = [] if second is None else [UNITS[second]]
    return [result.objective, *costs, HEADINGS[result.search.resource], _ENDED, *names]


def _column(result: SearchResult, trial: Trial, names: Sequence[str]) -> list[str]:
    """The cells of a trial, in the order of `_labels`."""
    best = trial.best(result.mode)
    return [
        "" if best is None else f"{best:.4f}",
        *([] if result.search.second_objective is None else [cost_cell(trial)]),
        number_of(trial, result.search.resource),
        trial.state_name(at_rest=True),
        *(show_setting(trial, name) for name in names),
    ]


def _n_fitting(of_trials: Iterable[Sequence[str]], room: int) -> int:
    """Number of the first trials whose columns fit into `room` columns."""
    lines_of_trials = ([line for cell in cells for line in cell.split("\n")] for cells in of_trials)
    ends = itertools.accumulate(max(map(len, lines)) + _PADDING for lines in lines_of_trials)
    return sum(end <= room for end in ends)


def _broken(value: str) -> str:
    """A value in lines that end at operators or hyphens, no wider than its longest piece."""
    pieces = _PIECE.findall(value)
    width = max(_BROKEN_WIDTH, *map(len, pieces))
    lines = [""]
    for piece in pieces:
        if len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


def cost_cell(trial: Trial) -> str:
    """A trial's second objective as a number; empty before it is measured."""
    return "" if trial.cost is None else f"{trial.cost:.3g}"


def show_setting(trial: Trial, name: str) -> str:
    """A trial's value of a searched setting as short text; a dash where the setting is inactive."""
    return show(trial.params[name]) if name in trial.params else "-"


def show(value: Scalar) -> str:
    """A setting's value as short text: three significant digits of a float."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
