"""A training function that computes a formula, and logs all its work, to measure lost work.

The objective rises with the pairs seen towards a limit that the settings determine. A larger weight decay
makes it rise more slowly, so that successive halving stops some good trials. Above 0.95 training diverges.
"""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.formula_report import FormulaReport
from themo.config.settings import Settings
from themo.data.dataset import EncodedPairs, TrainingData
from tune.space.search_space import from_tree

REPORTS = 9
PAIRS_A_REPORT = 100
METRIC = "val/match@01"

VERSION_BYTES = 200_000
"""Size of a version; a full disk has no room for it."""

LOG_FILE = "work.jsonl"
PACE_FILE = "pace"
"""Name of the file with the seconds per report, beside the log."""

TREE: dict[str, Any] = {
    "space": {
        "learn_rate": {"log_uniform": [1e-5, 1e-1]},
        "batch_size": {"integer": [32, 256], "step": 16},
        "weight_decay": {"uniform": [0.0, 1.0]},
    },
    "first": [
        {"learn_rate": 1e-2, "batch_size": 64, "weight_decay": 0.2},
        {"learn_rate": 2e-5, "batch_size": 64, "weight_decay": 0.2},
        {"learn_rate": 2e-3, "batch_size": 64, "weight_decay": 0.97},  # diverges
    ],
    "search": {
        "num_samples": 24,
        "grace_pairs": PAIRS_A_REPORT,
        "startup_trials": 4,
        # on a busy machine many workers are killed in a row as they start; no trial may fail because of that
        "max_failures": 100,
        "confirm": "off",
    },
}

RUNGS = (1, 3, 9)
"""Reports at which trials are judged and write a version, from `TREE` and the default reduction factor."""


def settings_in(logs_dir: Path, work_dir: Path) -> Settings:
    """Settings of a search with its results in one folder and its work log in another."""
    return Settings.model_validate(
        {
            "paths": {"logs_dir": str(logs_dir), "cache_dir": str(work_dir)},
            "data": {"corpus": ["pairs.tsv"]},
            "teacher": {"architecture": "any"},
            "student": {"backbone": "any"},
            "training": {"threads": 1, "device": "cpu"},  # the cluster's GPUs do not exist
        }
    )


def space_in(settings: Settings, **changes: object) -> Any:
    """The search space, with changed settings of the search."""
    return from_tree(TREE, settings, source="benchmarks/chaos").searched_by(**changes)


def data_in(settings: Settings) -> TrainingData:
    """Training data that no trial opens."""
    folder = Path(settings.paths.cache_dir)
    (folder / "ids.npy").touch()
    pairs = EncodedPairs(folder / "ids.npy", folder / "ids.npy")
    return TrainingData(pairs, pairs, backbone="any", parts=((REPORTS * PAIRS_A_REPORT, 1.0),))


def name_of(params: dict[str, Any]) -> str:
    """Name of a trial in the log: its settings, as it does not know its number."""
    return repr((params["learn_rate"], params["batch_size"], params["weight_decay"]))


def value_at(settings: Settings, step: int) -> float:
    """The objective at a report, counted from 1."""
    config = settings.training
    height = 1 / (1 + abs(math.log10(config.learn_rate) + 2.7)) - abs(config.batch_size - 128) / 1000
    return float(height * (step / REPORTS) ** (0.1 + config.weight_decay))


def train(
    settings: Settings,
    data: TrainingData,  # noqa: ARG001 -- it has none
    *,
    report: Callable[[FormulaReport], None],
    resume: Path | None = None,
) -> None:
    """Train, logging each report before its work."""
    first = 1
    if resume is not None:
        first = 1 + round(json.loads((resume / "progress.json").read_text())["step"])
    work_dir = Path(settings.paths.cache_dir)
    note = _Notes(work_dir / LOG_FILE, name_of(settings.leaves()))
    note("taken up", first - 1)
    seconds = float((work_dir / PACE_FILE).read_text())
    for step in range(first, REPORTS + 1):
        note("begun", step)
        time.sleep(seconds)
        if settings.training.weight_decay > 0.95:
            raise FloatingPointError(f"loss is nan at step {step}")
        value = value_at(settings, step)
        metrics = {
            "pairs_seen": PAIRS_A_REPORT * step,
            "step": step,
            METRIC: value,
            f"best/{METRIC}": value,
            "train/loss": 1 - value,
        }
        report(FormulaReport(metrics, step == REPORTS, settings, VERSION_BYTES))


class _Notes:
    """Appends lines to a file shared by many processes; each line is one atomic write."""

    def __init__(self, path: Path, trial: str) -> None:
        self._path = path
        self._same = {"trial": trial, "attempt": uuid.uuid4().hex, "pid": os.getpid()}

    def __call__(self, what: str, step: int) -> None:
        line = json.dumps(self._same | {"what": what, "step": step, "at": time.time()}) + "\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(line.encode())
