"""The front of a search with two objectives: a table, JSON, and a file of settings a trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from themo.files.atomic import write_text
from themo.process.output import typed, with_command
from tune.results.best_trials import cost_cell, show
from tune.space.search_settings import SearchSettings
from tune.study.front import UNITS, front_of
from tune.study.resource import HEADINGS, number_of
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial

FRONT_FOLDER = "front"
"""Folder of a search with a file of settings for each trial of its front, accepted by `train --config`."""

_SETTINGS_WIDTH = 60


def settings_file(folder: Path, number: int) -> Path:
    """The file with the settings of a trial of the front.

    Args:
        folder: The search directory.
        number: The trial.
    """
    return folder / FRONT_FOLDER / f"trial-{number:04d}.yaml"


def write_front(search: Search, study: Study) -> None:
    """Write the settings of the trials on the front, and remove those of trials that have left it.

    Raises:
        OSError: The disk is full.
    """
    if search.space.search.second_objective is None:
        return
    files = {settings_file(search.folder, trial.number): trial for trial in front_of(study)}
    for path, trial in files.items():
        path.parent.mkdir(exist_ok=True)
        write_text(path, search.settings.override(trial.params, source="study.json").to_yaml())
    for path in (search.folder / FRONT_FOLDER).glob("trial-*.yaml"):
        if path not in files:
            path.unlink()


def front_as_json(search: Search, study: Study) -> dict[str, Any]:
    """The entry ``front`` of a search's JSON, by cost; none with one objective."""
    second = search.space.search.second_objective
    if second is None:
        return {}
    return {
        "second_objective": second,
        "front": [
            {
                "trial": trial.number,
                "objective": trial.best(study.mode),
                "cost": trial.cost,
                "state": trial.state,
                "pairs_seen": trial.pairs_seen,
                "settings": dict(trial.params),
            }
            for trial in front_of(study)
        ],
    }


def front_in_words(search: Search, study: Study, folder: Path) -> Iterator[Table | str]:
    """The trials on the front, cheapest first, and the command that trains one again.

    The command waits for its file. Nothing comes with one objective, or before a report.

    Args:
        search: The search.
        study: The record.
        folder: The search directory.
    """
    second, front = search.space.search.second_objective, front_of(study)
    if second is None or not front:
        return
    yield _table(front, study.mode, search.objective, search.space.search)
    cheapest = front[0]
    path = settings_file(folder, cheapest.number)
    if cheapest is not front[-1] and path.is_file():  # the last one is the winner, whose student is in best/
        again = "Train trial" if cheapest.state == "COMPLETE" else "Train to its end trial"
        label = f"{again} {cheapest.number}, of least {UNITS[second]}: "
        yield with_command(label, typed("train", "--config", path))


def _table(front: Sequence[Trial], mode: Mode, objective: str, rules: SearchSettings) -> Table:
    costs = [] if rules.second_objective is None else [UNITS[rules.second_objective]]
    view = Table(
        title="Front: no trial is better than these in one objective and no worse in the other",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("trial", *costs, objective, HEADINGS[rules.resource]):
        view.add_column(heading, justify="right", overflow="fold")
    view.add_column("ended", overflow="fold")
    view.add_column("settings", max_width=_SETTINGS_WIDTH, overflow="fold")
    for trial in front:
        view.add_row(
            str(trial.number),
            cost_cell(trial),
            f"{trial.best(mode):.4f}",
            number_of(trial, rules.resource),
            trial.state_name(at_rest=True),
            " ".join(f"{name}={show(value)}" for name, value in trial.params.items()),
        )
    return view
