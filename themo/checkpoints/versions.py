"""Version directories: settings, weights, metrics and what a resume needs.

    version_N/
        config.yaml     complete settings; `train --config` on it repeats the run
        metrics.csv     a row a report
        summary.json    state of the run, best and last metrics, where and on what it ran
        student/        the best student so far
        checkpoint/     the last student, optimiser, random state
        run.txt         key of its run in MLflow
        test.json       once it was tested, until it has another student
        report.html     once it was tested with --report, until it is tested again

Every part is written under a temporary name and renamed, `checkpoint/` last. A directory takes the place of
its predecessor in two renames; a reader that comes, or a run that dies, between them finds the predecessor
under its `.old` name.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from themo.config.settings import Settings, load
from themo.errors import InputError, reason_of
from themo.files.atomic import old_name, replace_folder, write_text
from themo.files.weights import write_weights

if TYPE_CHECKING:
    from torch import Tensor

Metrics = dict[str, float]

TEST_FILE = "test.json"
"""Scores of the student there (`themo.evaluation.scores.Scores.to_dict`)."""
REPORT_FILE = "report.html"
"""What they say, for people (`themo.evaluation.report.page`)."""
OF_TESTS = (TEST_FILE, REPORT_FILE)

_RUN_FILE = "run.txt"


@dataclass(frozen=True)
class Checkpoint:
    """What a resume needs.

    Attributes:
        tensors: The last student (``student.*``), optimiser (``optimizer.<i>.<name>``), random state
            (``random``), all on the CPU.
        progress: JSON: what `themo.checkpoints.resumption.Progress` holds.
    """

    tensors: dict[str, Tensor]
    progress: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the checkpoint into an empty folder."""
        write_weights(self.tensors, folder / "state.safetensors")
        (folder / "progress.json").write_text(json.dumps(self.progress), encoding="utf-8")

    @classmethod
    def load(cls, version: Path) -> Checkpoint:
        """The checkpoint of a version directory.

        Raises:
            InputError: There is none, or it is damaged.
        """
        from safetensors.torch import load_file  # with torch, which settings and summaries do without

        folder = find_part(version, "checkpoint")
        try:
            tensors = load_file(folder / "state.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(f"{folder}: is not a whole checkpoint: {reason_of(error)}") from error
        return cls(tensors, read_progress(version))


def read_progress(version: Path) -> dict[str, Any]:
    """The progress of a version directory's checkpoint.

    Raises:
        InputError: There is none, or it is damaged.
    """
    folder = find_part(version, "checkpoint")
    try:
        progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: is not a whole checkpoint: {reason_of(error)}") from error
    if not isinstance(progress, dict) or not isinstance(progress.get("pairs_seen"), int):
        raise InputError(f"{folder}: is not a whole checkpoint: progress.json does not tell the pairs seen")
    return progress


def new_version(logs_dir: Path, experiment: str) -> Path:
    """Make the next ``logs_dir/experiment/version_N``; safe when two runs start at once."""
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


def read_run_key(version: Path) -> str | None:
    """What MLflow knows the run of a version directory by; None where nothing says so."""
    try:
        return (version / _RUN_FILE).read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def keep_run_key(version: Path, key: str) -> None:
    """Let a version directory say by which key MLflow knows its run."""
    if read_run_key(version) != key:
        write_text(version / _RUN_FILE, f"{key}\n")


def write_version(
    folder: Path,
    *,
    settings: Settings,
    reports: Sequence[Metrics],
    summary: Mapping[str, Any],
    save_student: Callable[[Path], None] | None,
    checkpoint: Checkpoint,
) -> None:
    """Bring a version directory up to date, whole after a kill at any moment.

    Args:
        folder: Empty, or a version directory of the same run.
        settings: The run's.
        reports: All metrics reported so far.
        summary: JSON of the run's state.
        save_student: Writes the best student into the folder it is given; None: the one there is still the
            best.
        checkpoint: What a resume needs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", settings.to_yaml())
    if save_student is not None:
        for told in OF_TESTS:  # it is of another student
            (folder / told).unlink(missing_ok=True)
        replace_folder(folder / "student", save_student)
    write_text(folder / "metrics.csv", _table(reports))
    write_text(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False))
    # last: whatever a kill leaves is written again by a resume from the checkpoint before it
    replace_folder(folder / "checkpoint", checkpoint.save)


def read_settings(version: Path) -> Settings:
    """The settings of a version directory.

    Raises:
        InputError: It is none.
    """
    if not (version / "config.yaml").is_file():
        hint = f"; {version / 'best'} is the best one of this search" if (version / "best").is_dir() else ""
        raise InputError(f"{version}: must be a version directory, it holds no config.yaml{hint}")
    return load(config=version / "config.yaml")


def settings_here(version: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Give the settings of a version that is used from here, with its cache where `find_cache` finds it.

    Args:
        version: The version directory.
        overrides: Settings by leaf name that are not those of the run.

    Raises:
        InputError: It is none, or an override breaks a rule.
    """
    settings = read_settings(version)
    return settings.override({"cache_dir": str(find_cache(settings, version)), **(overrides or {})})


def find_cache(settings: Settings, version: Path) -> Path:
    """The cache of a version, which may be used from elsewhere and, with its cache, be moved.

    Returns:
        The folder in its settings: from the working directory or, where it is not there, from the nearest
        folder above the version that holds it.
    """
    path = Path(settings.paths.cache_dir)
    if path.is_absolute() or path.is_dir():
        return path
    above = (folder / path for folder in version.resolve().parents)
    return next((folder for folder in above if folder.is_dir()), path)


def read_summary(version: Path) -> dict[str, Any]:
    """The summary of a version directory.

    Raises:
        InputError: There is none, or it is damaged.
    """
    try:
        summary: dict[str, Any] = json.loads((version / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{version}: has no readable summary.json: {reason_of(error)}") from error
    return summary


def find_part(version: Path, name: str) -> Path:
    """The folder ``student`` or ``checkpoint`` of a version directory.

    Raises:
        InputError: It has none.
    """
    for folder in (version / name, old_name(version / name)):
        if folder.is_dir():
            return folder
    raise InputError(f"{version}: must be a version directory, it holds no {name}/")


def _table(reports: Sequence[Metrics]) -> str:
    names = list(dict.fromkeys(name for report in reports for name in report))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: repr(value) for name, value in report.items()} for report in reports)
    return out.getvalue()
