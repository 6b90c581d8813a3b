"""Version directories: settings, weights, metrics and checkpoint.

    version_N/
        config.yaml     complete settings; `train --config` on it repeats the run
        metrics.csv     one row per report
        summary.json    state of the run, best and last metrics, environment
        student/        the best student so far
        checkpoint/     the latest student, optimiser, random state
        run.txt         key of the run in MLflow; in a search's best/ also the key of the search's run
        test.json       scores of the last test; removed when the student changes
        report.html     page of the last `test --report`; removed by the next test
        .lock           held by the process that trains; removed at its end, left by a kill

Every part is written under a temporary name and renamed, `checkpoint/` last. A directory replaces
its predecessor in two renames. A reader or a resume between the two finds the predecessor under its `.old`
name. `load_part` reads a directory again that was replaced meanwhile.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from themo.config.settings import Settings, load
from themo.errors import InputError, reason_of
from themo.files.atomic import old_name, replace_folder, write_text
from themo.files.locks import is_locked, try_lock
from themo.files.run_folders import BEST_VERSION, VERSION_FILE, is_version
from themo.files.weights import write_weights

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Metrics = dict[str, float]
Identity = tuple[int, int, int]
"""Device, number and time of change of a folder."""

METRICS_FILE = "metrics.csv"
TEST_FILE = "test.json"
"""File of the student's test scores (`themo.evaluation.scores.Scores.to_dict`)."""
REPORT_FILE = "report.html"
"""HTML report of the test scores (`themo.evaluation.report.page`)."""
OF_TESTS = (TEST_FILE, REPORT_FILE)
ENDED = "ended"
"""Key of ``summary.json``: the status in MLflow of a run that failed or was interrupted."""

_LOCK_FILE = ".lock"
_RUN_FILE = "run.txt"
_MOST_LOADS = 10


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run for a resume.

    Attributes:
        tensors: The last student (``student.*``), optimiser (``optimizer.<i>.<name>``), random state
            (``random``), all on the CPU.
        progress: `themo.checkpoints.resumption.Progress` as JSON.
    """

    tensors: dict[str, Tensor]
    progress: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the checkpoint into an empty folder."""
        write_weights(self.tensors, folder / "state.safetensors")
        (folder / "progress.json").write_text(json.dumps(self.progress), encoding="utf-8")

    @classmethod
    def load(cls, version: Path) -> Checkpoint:
        """Read the checkpoint of a version directory.

        Raises:
            InputError: The checkpoint is missing or damaged.
        """
        from safetensors.torch import load_file  # with torch, which settings and summaries do without

        def read(folder: Path) -> Checkpoint:
            try:
                tensors = load_file(folder / "state.safetensors")
            except (OSError, ValueError, SafetensorError) as error:
                raise InputError(f"{folder}: is not a complete checkpoint: {reason_of(error)}") from error
            return cls(tensors, _progress_in(folder))

        return load_part(version, "checkpoint", read)


def read_progress(version: Path) -> dict[str, Any]:
    """Read the progress of a version directory's checkpoint.

    Raises:
        InputError: The checkpoint is missing or damaged.
    """
    return load_part(version, "checkpoint", _progress_in)


def _progress_in(folder: Path) -> dict[str, Any]:
    try:
        progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: is not a complete checkpoint: {reason_of(error)}") from error
    if not isinstance(progress, dict) or not isinstance(progress.get("pairs_seen"), int):
        raise InputError(f"{folder}: is not a complete checkpoint: progress.json lacks `pairs_seen`")
    return progress


def new_version(logs_dir: Path, experiment: str) -> Path:
    """Make the next ``logs_dir/experiment/version_N``; safe if two runs start at the same time."""
    parent = logs_dir / experiment
    parent.mkdir(parents=True, exist_ok=True)
    numbers = [int(p.name[8:]) for p in parent.glob("version_*") if p.name[8:].isdigit()]
    number = max(numbers, default=-1) + 1
    while True:
        try:
            (parent / f"version_{number}").mkdir()
        except FileExistsError:
            number += 1
        else:
            return parent / f"version_{number}"


@contextmanager
def training_lock(version: Path) -> Iterator[None]:
    """Hold the lock of a version directory for a block: one process trains it.

    Raises:
        InputError: Another process holds it.
        OSError: The directory cannot be written.
    """
    path = version / _LOCK_FILE
    lock = try_lock(path)
    if lock is None:
        raise InputError(f"--resume {version}: another process trains it")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before the release: afterwards it may be another process's
        lock.release()


def is_training(version: Path) -> bool:
    """Whether a process trains a version."""
    return is_locked(version / _LOCK_FILE)


def read_run_keys(version: Path) -> list[str]:
    """Return the keys of a version's runs in MLflow; empty if no key was recorded.

    The first is the key of the run that trained it. The best version of a search has a second, that of the
    search's run. The last one takes the scores of tests.
    """
    try:
        return (version / _RUN_FILE).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []


def keep_run_keys(version: Path, *keys: str) -> None:
    """Record the keys of a version's runs in MLflow; see `read_run_keys`."""
    if read_run_keys(version) != list(keys):
        write_text(version / _RUN_FILE, "".join(f"{key}\n" for key in keys))


def write_version(
    folder: Path,
    *,
    settings: Settings,
    reports: Sequence[Metrics],
    summary: Mapping[str, Any],
    save_student: Callable[[Path], None] | None,
    checkpoint: Checkpoint,
) -> None:
    """Update a version directory; a kill at any moment leaves it readable.

    Args:
        folder: An empty folder, or a version directory of the same run.
        settings: Settings of the run.
        reports: All metrics reported so far.
        summary: JSON of the run's state.
        save_student: Writes the best student into a given folder; None keeps the student on disk.
        checkpoint: State for a resume.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / VERSION_FILE, settings.to_yaml())
    if save_student is not None:
        _remove_results(folder)
        replace_folder(folder / "student", save_student)
        _remove_results(folder)  # of a test that ended meanwhile
    write_text(folder / METRICS_FILE, _table(reports))
    write_text(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False))
    # last: after a kill, a resume from the previous checkpoint writes the other files again
    replace_folder(folder / "checkpoint", checkpoint.save)


def _remove_results(version: Path) -> None:
    """Remove the results of the previous student's test."""
    for name in OF_TESTS:
        (version / name).unlink(missing_ok=True)


def read_settings(version: Path) -> Settings:
    """Read the settings of a version directory.

    Raises:
        InputError: The folder is no version directory.
    """
    if not is_version(version):
        best = version / BEST_VERSION
        hint = f"; {best} is the best version of this search" if best.is_dir() else ""
        fault = f"has no {VERSION_FILE}" if version.exists() else "does not exist"
        raise InputError(f"{version}: must be a version directory, but {fault}{hint}")
    return load(config=version / VERSION_FILE)


def settings_here(version: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of a version, with `cache_dir` where `find_cache` finds the cache.

    Args:
        version: The version directory.
        overrides: Settings by leaf name that replace those of the run.

    Raises:
        InputError: The folder is no version directory, or an override breaks a rule.
    """
    settings = read_settings(version)
    return settings.override({"cache_dir": str(find_cache(settings, version)), **(overrides or {})})


def find_cache(settings: Settings, version: Path) -> Path:
    """Return the cache of a version, also after the version and its cache were moved together.

    Returns:
        The `cache_dir` of the settings, relative to the working directory or else to the nearest folder above
        the version that contains it.
    """
    path = Path(settings.paths.cache_dir)
    if path.is_absolute() or path.is_dir():
        return path
    above = (folder / path for folder in version.resolve().parents)
    return next((folder for folder in above if folder.is_dir()), path)


def read_summary(version: Path) -> dict[str, Any]:
    """Read the summary of a version directory.

    Raises:
        InputError: The summary is missing or damaged.
    """
    try:
        summary: dict[str, Any] = json.loads((version / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{version}: has no readable summary.json: {reason_of(error)}") from error
    if not isinstance(summary, dict):
        raise InputError(f"{version}: summary.json: must be the record of a run, got {summary!r}")
    return summary


def read_run_summary(version: Path) -> dict[str, Any]:
    """Read the summary of a version that a run wrote, which has a ``state``.

    Raises:
        InputError: The summary is missing or damaged, or has no state.
    """
    summary = read_summary(version)
    if not isinstance(summary.get("state"), str):
        raise InputError(f"{version}: summary.json: must be the record of a run, but has no `state`")
    return summary


def add_to_summary(version: Path, **facts: Any) -> None:
    """Add facts to the summary of a version directory; do nothing without a summary."""
    path = version / "summary.json"
    if path.is_file():
        write_text(path, json.dumps(read_summary(version) | facts, indent=1, ensure_ascii=False))


def find_part(version: Path, name: str) -> Path:
    """Return the folder ``student`` or ``checkpoint`` of a version directory.

    Raises:
        InputError: The folder is missing.
    """
    folder = version / name
    for place in (
        folder,
        old_name(folder),
        folder,
    ):  # again: the second rename may come between the two looks
        if place.is_dir():
            return place
    raise InputError(f"{version}: must be a version directory, but has no {name}/")


def load_part(version: Path, name: str, load: Callable[[Path], T]) -> T:
    """Load the folder ``student`` or ``checkpoint`` of a version directory, which may be in training.

    A training that replaces the folder during the load would give files of two students, or fail the load:
    then the folder is loaded again.

    Args:
        version: The version directory.
        name: ``student`` or ``checkpoint``.
        load: Reads the given folder; called again after a replacement.

    Raises:
        InputError: The folder is missing, `load` refuses it, or it was replaced in each of ten loads.
    """
    for _ in range(_MOST_LOADS):
        folder = find_part(version, name)
        before = identity_of(folder)
        try:
            loaded = load(folder)
        except (InputError, OSError):
            if before is not None and identity_of(folder) == before:
                raise
            continue
        if before is not None and identity_of(folder) == before:
            return loaded
    raise InputError(f"{version}: {name}/ was replaced in each of {_MOST_LOADS} loads: try again later")


def identity_of(folder: Path) -> Identity | None:
    """Return what changes when a folder is replaced; None for a missing folder.

    The time of change is part of it, since a file system may reuse the number of a removed folder.
    """
    try:
        status = folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _table(reports: Sequence[Metrics]) -> str:
    names = list(dict.fromkeys(name for report in reports for name in report))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: repr(value) for name, value in report.items()} for report in reports)
    return out.getvalue()
