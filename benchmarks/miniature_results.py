"""Results of the commands on the miniature: `train` with the original's settings, a search of 32 trials.

Runs the command line in a logs folder of its own; the miniature is prepared beforehand.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Goal, Options, Row


def run(options: Options) -> list[Row]:
    """Rows of both commands."""
    with tempfile.TemporaryDirectory() as folder:
        _themo("prepare")
        return [*_train(Path(folder), options.seed), *_search(Path(folder), options.seed)]


def _train(logs: Path, seed: int) -> list[Row]:
    start = time.monotonic()
    own = ["--logs-dir", str(logs), "--seed", str(seed)]
    _themo("train", "--batch-size", "256", "--learn-rate", "8e-5", *own)
    seconds = time.monotonic() - start
    scores = json.loads(
        _themo("test", "--version-path", str(logs / "miniature/version_0"), "--json", "--task", "retrieval")
    )
    return [
        Row(
            "train --batch-size 256 --learn-rate 8e-5: test R@1",
            scores["student"]["retrieval@01"],
            "",
            Goal(0.70),
            tuple(scores["ci95"]["student"]["retrieval@01"]),
            "range: 95 % interval",
            (seed,),
        ),
        Row("the same: whole command", seconds, "s", Goal(180, "<"), seeds=(seed,)),
    ]


def _search(logs: Path, seed: int) -> list[Row]:
    start = time.monotonic()
    own = ["--logs-dir", str(logs), "--search-seed", str(seed)]
    result = json.loads(_themo("tune", "--num-samples", "32", "--json", *own))
    seconds = time.monotonic() - start
    test: dict[str, Any] = result["test"]
    detail = f"student {test['student']['retrieval@01']:.3f}, ceiling {test['ceiling']['retrieval@01']:.3f}"
    return [
        Row(
            "tune --num-samples 32: retention of its best",
            test["retention"],
            "",
            Goal(0.97),
            None,
            detail,
            (seed,),
        ),
        Row("the same: whole command, miniature prepared", seconds, "s", Goal(360, "<"), seeds=(seed,)),
        Row("the same: slots busy training", result["slots_busy"], "", Goal(0.85), seeds=(seed,)),
    ]


def _themo(*arguments: str) -> str:
    command = [sys.executable, "-m", "themo", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
