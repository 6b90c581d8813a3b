"""Ablation of the miniature's student: number of pairs and initial weights, on validation images.

    python -m benchmarks miniature_student

One property at a time differs from the shipped preset: the number of distinct pairs, with equally long
training, or the standard deviation of the random initial weights, with the preset's settings and with the
original's small learning rate. No test image is used.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.measure import Options, Row
from benchmarks.random_settings import train_one
from themo.config import settings as config
from themo.config.sections import Objective
from themo.config.settings import Settings
from themo.data.preparation import prepare_data
from themo.data.sources import Sources
from themo.miniature.blank_student import INITIALIZER_RANGE
from themo.process.progress import track

SEEDS = 3
PAIRS = (12_000, 24_000)
"""Numbers of pairs, all below the shipped 48,000."""
DEVIATIONS = (0.001, 0.02)
"""Standard deviations of initial weights beside the shipped one; 0.02 is BERT's default."""
ORIGINAL = {"batch_size": 256, "learn_rate": 8e-5}
METRIC: Objective = "val/retrieval@01"


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its seeds are its own
    """Rows with each variant's best retrieval on validation images, as a mean over seeds."""
    settings = config.load()
    with tempfile.TemporaryDirectory() as folder:
        found = variants(settings, Path(folder))
        for changes in found.values():
            prepare_data(settings.override(changes))
        wanted = [(name, seed) for seed in range(SEEDS) for name in found]
        best: dict[str, list[float]] = {name: [] for name in found}
        with (
            ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
            track("Training students", len(wanted), "students") as advance,
        ):
            work = partial(train_one, settings=settings, tested=False)
            numbers = [list(found).index(name) for name, _ in wanted]
            changes_of_each = [found[name] for name, _ in wanted]
            seeds = [seed for _, seed in wanted]
            for (name, _), student in zip(
                wanted, pool.map(work, numbers, changes_of_each, seeds), strict=True
            ):
                best[name].append(student.best(METRIC))
                advance(1)
    return [
        Row(
            f"{METRIC}, {name}",
            statistics.fmean(values),
            "",
            None,
            (min(values), max(values)),
            f"mean of {SEEDS} seeds; range over them",
            tuple(range(SEEDS)),
        )
        for name, values in best.items()
    ]


def variants(settings: Settings, folder: Path) -> dict[str, dict[str, Any]]:
    """Changed settings by variant; backbones with other initial weights are written into `folder`."""
    sources = Sources(settings)
    shipped = Path(sources.resolve(settings.student.backbone))
    pairs = settings.miniature.corpus_pairs
    found: dict[str, dict[str, Any]] = {
        f"{fewer:,} pairs": {"max_pairs": fewer, "epochs": settings.training.epochs * pairs / fewer}
        for fewer in PAIRS
    }
    for recipe, changes in {"the preset's settings": {}, "batch 256, 8e-5": ORIGINAL}.items():
        for deviation in sorted({*DEVIATIONS, INITIALIZER_RANGE}):
            name = f"initial weights' deviation {deviation:g}, {recipe}"
            found[name] = {**changes, "backbone": _backbone(shipped, folder, deviation)}
    return found


def _backbone(shipped: Path, folder: Path, deviation: float) -> str:
    """Write the shipped backbone with other initial weights; return its folder."""
    other = folder / f"{deviation:g}"
    if not other.exists():
        shutil.copytree(shipped, other)
        tree = json.loads((other / "config.json").read_text(encoding="utf-8"))
        tree["initializer_range"] = deviation
        (other / "config.json").write_text(json.dumps(tree), encoding="utf-8")
    return str(other)
