"""Results of a search for people: ``best.yaml``, ``best/`` and the table of the best trials."""

from __future__ import annotations

import filecmp
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
from themo.process.output import WIDTH_OF_FILES
from tune.cluster.storage import Storage
from tune.confirmation.verdict import Verdict
from tune.space.dimensions import Scalar
from tune.space.search_settings import SearchSettings
from tune.study.front import UNITS
from tune.study.remaining_gain import RemainingGain
from tune.study.resource import HEADINGS, number_of
from tune.study.study import Study
from tune.study.trial_record import Mode, State, Trial

BEST_SETTINGS = "best.yaml"
BEST_VERSION = "best"

_TRIAL_WIDTH = 9
"""Least width of a trial's column, for `1,234,567` and `complete`."""
_PADDING = 3
"""Columns between two columns of a table."""


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
        unconfirmed: Reason for no confirmation, in one line; empty if it is off.
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
    unconfirmed: str = ""
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
    settings with a note, and the version's ``summary.json`` lists the takeovers.

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
    is_cut = winner.state != "COMPLETE" or bool(winner.reason)  # one that its last epoch ended has no reason
    if winner.state == "COMPLETE" and is_cut:
        note += f"# Trial {winner.number}: {winner.reason}. A run with these settings continues to its end.\n"
    best = folder / BEST_VERSION
    with unfinished(best) as new:
        storage.retry_until_reachable(partial(_fetch_again, storage, str(winner.checkpoint), new))
        if is_cut:
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
        return "no report yet"
    settings = " ".join(f"{name}={show(value)}" for name, value in leader.params.items())
    best = leader.best(study.mode)
    lost = "" if leader.is_done or best == leader.saved(study.mode) else ", not saved yet"
    return f"best {objective} {best:.4f} in trial {leader.number}{lost}: {settings}"


def table(result: SearchResult, searched: Iterable[str], columns: int = WIDTH_OF_FILES) -> Table:
    """A table of the best trials, one column a trial, so that many settings fit into 80 columns.

    Args:
        result: The result.
        searched: Names of the settings to show.
        columns: Width of the terminal; a narrow one shows fewer trials.
    """
    names = list(searched)
    resource = result.search.resource
    widest = max(map(len, ("trial", HEADINGS[resource], result.objective, *names)))
    n_shown = max(1, (columns - widest - _PADDING) // (_TRIAL_WIDTH + _PADDING))
    top = result.top[:n_shown]
    left_out = len(result.top) - len(top)
    view = Table(
        title=f"Best trials by {result.objective}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption=f"{left_out} more in a wider terminal and in trials.csv" if left_out else None,
        caption_justify="left",
    )
    view.add_column("trial", overflow="fold")
    for trial in top:
        view.add_column(str(trial.number), justify="right", overflow="fold")
    bests = [trial.best(result.mode) for trial in top]
    view.add_row(result.objective, *(f"{best:.4f}" if best is not None else "" for best in bests))
    if (second := result.search.second_objective) is not None:
        view.add_row(UNITS[second], *(cost_cell(trial) for trial in top))
    view.add_row(HEADINGS[resource], *(number_of(trial, resource) for trial in top))
    view.add_row("ended", *(trial.state_name(at_rest=True) for trial in top), end_section=True)
    for name in names:
        view.add_row(name, *(show_setting(trial, name) for trial in top))
    return view


def cost_cell(trial: Trial) -> str:
    """A trial's second objective as a number; empty before it is measured."""
    return "" if trial.cost is None else f"{trial.cost:.3g}"


def show_setting(trial: Trial, name: str) -> str:
    """A trial's value of a searched setting as short text; a dash where the setting is inactive."""
    return show(trial.params[name]) if name in trial.params else "-"


def show(value: Scalar) -> str:
    """A setting's value as short text: three significant digits of a float."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
