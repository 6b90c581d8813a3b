"""What a search leaves for people: the best settings, the best version, the best trials on the screen."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from themo.checkpoints.versions import add_to_summary
from themo.config.settings import Settings
from themo.files.atomic import write_text
from tune.cluster.storage import Storage
from tune.space.dimensions import Scalar
from tune.study.study import Study
from tune.study.trial_record import Mode, State, Trial

BEST_SETTINGS = "best.yaml"
BEST_VERSION = "best"


@dataclass(frozen=True)
class SearchResult:
    """What a session of a search leaves: a finished one, or what there is when its time is up.

    Attributes:
        folder: The search directory.
        objective: Name of the metric that was searched on.
        mode: Whether it is to be great or small.
        counts: Trials in each state; those under way are interrupted.
        best: The winner.
        slots: The most trials that a session had room for at once.
        busy: Share of the slots' time in `seconds` that was spent in training.
        seconds: From the first start to the last end, pauses between sessions left out.
        top: The best trials, best first.
        num_samples: Trials that were asked for.
        is_whole: Whether nothing is left to do; otherwise the session's time was up.
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

    @property
    def value(self) -> float:
        """The winner's objective."""
        return self.best.values[self.best.best_pairs(self.mode)]

    def to_json(self) -> dict[str, Any]:
        """For ``tune --json``."""
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
        }


def write_best(winner: Trial, settings: Settings, storage: Storage, folder: Path) -> None:
    """Copy the winner's version to ``best/``, replacing an older one when whole, and write ``best.yaml``.

    A ``best/`` that is this version already stays, with what was written beside it: its test, its report.
    ``best.yaml`` is taken away before and comes last, so that it is never that of another version: without
    it, ``best/`` is nobody's. After a kill, to be called again.

    Where settings changed on the way (`tune.schedulers.population`), ``best.yaml`` holds the last ones and
    says so, and the version's ``summary.json`` holds its line.

    Args:
        winner: With the path of its version, relative to `storage`.
        settings: Those that the search started from.
        storage: Where the versions are.
        folder: The search directory.
    """
    chosen = settings.override(winner.params, source="study.json")
    note = ""
    if winner.lineage:
        note = (
            "# The last settings of a run whose settings changed on the way: to train with them is another\n"
            f"# run. The winner, trial {winner.number}, went on {winner.lineage_in_words};\n"
            "# study.json holds the settings until there.\n"
        )
    new, old = folder / f".{BEST_VERSION}.new", folder / f".{BEST_VERSION}.old"
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    storage.when_there(partial(_fetch_anew, storage, str(winner.checkpoint), new))
    if winner.state != "COMPLETE":
        add_to_summary(new, state="stopped early")  # written when the trial might have gone on
    if winner.lineage:
        add_to_summary(new, lineage=[{"donor": step.donor, "pairs": step.pairs} for step in winner.lineage])
    best = folder / BEST_VERSION
    if _holds(best, new):
        shutil.rmtree(new)
    else:
        (folder / BEST_SETTINGS).unlink(missing_ok=True)
        if best.exists():
            best.rename(old)
        new.rename(best)
        shutil.rmtree(old, ignore_errors=True)
    write_text(folder / BEST_SETTINGS, note + chosen.to_yaml())


def _fetch_anew(storage: Storage, path: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # what an attempt before left of it
    storage.fetch(path, folder)


def _holds(folder: Path, other: Path) -> bool:
    """Whether all files of another folder are in a folder too, byte by byte."""
    pairs = [(folder / path.relative_to(other), path) for path in other.rglob("*") if path.is_file()]
    same = (path.is_file() and filecmp.cmp(path, copy, shallow=False) for path, copy in pairs)
    return folder.is_dir() and all(same)


def counts_in_words(counts: Mapping[State, int], at_rest: bool) -> dict[str, int]:
    """Trials in each state by its name in JSON; at rest, without a driver, none is running."""
    named = {state.lower(): n for state, n in counts.items()}
    under_way = named.pop("running")
    return {"running": 0 if at_rest else under_way, "interrupted": under_way if at_rest else 0} | named


def best_so_far(study: Study, objective: str) -> str:
    """The best trial so far in a line, with its settings."""
    leader = study.leader()
    if leader is None:
        return "no report yet"
    settings = " ".join(f"{name}={show(value)}" for name, value in leader.params.items())
    best = leader.best(study.mode)
    lost = "" if leader.is_done or best == leader.saved(study.mode) else ", not saved yet"
    return f"best {objective} {best:.4f} in trial {leader.number}{lost}: {settings}"


def table(result: SearchResult, searched: Iterable[str]) -> Table:
    """The best trials for the screen: a column a trial, so that many settings fit 80 characters."""
    view = Table(title=f"Best trials by {result.objective}", title_justify="left", box=box.SIMPLE_HEAD)
    view.add_column("trial", no_wrap=True)
    for trial in result.top:
        view.add_column(str(trial.number), justify="right", overflow="fold")
    bests = [trial.best(result.mode) for trial in result.top]
    view.add_row(result.objective, *(f"{best:.4f}" if best is not None else "" for best in bests))
    view.add_row("pairs_seen", *(f"{trial.pairs_seen:,}" for trial in result.top))
    view.add_row("ended", *(trial.stand(at_rest=True) for trial in result.top), end_section=True)
    for name in searched:
        view.add_row(name, *(show(trial.params.get(name)) for trial in result.top))
    return view


def show(value: Scalar) -> str:
    """A setting's value in a few characters."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
