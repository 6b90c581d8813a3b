"""The commands that a report ends with: train, test, repeat, resume, compare."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from tune.results.best_trials import BEST_SETTINGS, show
from tune.results.front import settings_file
from tune.study.front import front_of
from tune.study.search import Search
from tune.study.study import Study
from tune.study.tracking_place import comparison_of
from tune.study.trial_record import Trial


@dataclass(frozen=True)
class Command:
    """A command and its purpose."""

    what: str
    text: str


def commands(
    search: Search,
    folder: Path,
    is_finished: bool,
    trained: Trial | None,
    version: Path | None,
    sufficient: float | None = None,
) -> list[Command]:
    """The commands for a search.

    Args:
        search: The search.
        folder: The search directory.
        is_finished: Whether neither trials nor runs of the confirmation are left.
        trained: The best trial, if training with ``best.yaml`` repeats or continues it.
        version: The winner's version; None: it is not there.
        sufficient: Smallest ``--confirm`` that suffices for the unconfirmed winner; None: none applies.
    """
    themo, base = "python -m themo", directory_of(folder)
    of_search = _search_as_typed(search, folder)
    compare = Command("Compare the trials in MLflow", str(comparison_of(folder, search.uid)))
    trains = []
    if trained is not None:
        what = "Train the winner's settings to their end" if trained.cut else "Train the winner again"
        trains = [Command(what, f"{themo} train --config {_shown(folder / BEST_SETTINGS, base)}")]
    resume = resume_command(search, folder)
    if version is None:
        what = "Write the winner's files again" if is_finished else "Resume the search, if it is not running"
        return [Command(what, resume), *trains, compare]
    resumes = [] if is_finished else [Command("Resume the search", resume)]
    if sufficient is not None:
        resumes.append(Command("Confirm the winner with further seeds", f"{resume} --confirm {sufficient:g}"))
    return [
        *resumes,
        *trains,
        Command(
            "Test the winner and all baselines, with a report",
            f"{themo} test --version-path {_shown(version, base)} --baseline --report",
        ),
        Command("Search again", f"{themo} tune --repeat {of_search}"),
        Command("Update this page", f"{themo} report {of_search}"),
        compare,
    ]


def resume_command(search: Search, folder: Path) -> str:
    """The command that resumes a search, in `directory_of` its folder."""
    return f"python -m themo tune --resume {_search_as_typed(search, folder)}"


def _search_as_typed(search: Search, folder: Path) -> str:
    """A search's name with its current directory, as options of a command."""
    return f"{search.name} --logs-dir {_shown(folder.parent.parent, directory_of(folder))}"


@dataclass(frozen=True)
class FrontRow:
    """A trial of the front of two objectives; the command trains it again, and is empty without its file."""

    number: int
    value: float
    cost: float
    settings: str
    command: str


def front_rows(search: Search, study: Study, folder: Path) -> list[FrontRow]:
    """The trials on the front, by cost; none with one objective."""
    if search.space.search.second_objective is None:
        return []
    base, rows = directory_of(folder), []
    for trial in front_of(study):
        path = settings_file(folder, trial.number)
        command = f"python -m themo train --config {_shown(path, base)}" if path.is_file() else ""
        settings = ", ".join(f"{name} {show(value)}" for name, value in trial.params.items())
        rows.append(
            FrontRow(trial.number, trial.best(study.mode) or 0.0, trial.cost or 0.0, settings, command)
        )
    return rows


def directory_of(folder: Path) -> Path:
    """The directory where the page's commands run: the current one, or else the one that holds the logs.

    The current one is taken if it is the folder of logs or above it.
    All paths are relative to it: others read the page in MLflow, on other machines.
    """
    logs, here = folder.absolute().parents[1], Path.cwd()
    return here if logs.is_relative_to(here) else logs.parent


def _shown(path: Path, base: Path) -> str:
    """A path as typed in a shell in a directory."""
    return shlex.quote(str(path.absolute().relative_to(base)))
