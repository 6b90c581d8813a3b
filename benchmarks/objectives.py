"""Compares validation metrics as objectives: which one ranks random settings like the test images do?

Trains random settings of the search space for half an epoch, each with several seeds. Compares the rankings
of the kept students by val/loss, val/cosine, val/match@01 and val/retrieval@01 with the ranking by retrieval
on the test images. Test data is used only once, to choose between four metrics, and never to choose a
setting.

    python -m benchmarks objectives
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.cached_results import other_commits
from benchmarks.measure import Options, Row
from benchmarks.random_settings import RandomRun, collect
from themo.config import settings as config
from themo.config.sections import HIGHER_IS_BETTER, Objective

SETTINGS, SEEDS = 20, 3
LOG = Path("logs/bench/objectives.jsonl")


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its seeds are its own
    """Rows with each metric's rank correlation of means over seeds; single seeds as spread."""
    # after half an epoch bad settings are apparent, and good ones still differ
    settings = config.load(overrides={"epochs": 0.5, "report_pairs": 2000})
    runs = collect(SETTINGS, SEEDS, settings, LOG, tested=True)
    return [
        Row(
            f"{name}: Spearman with test R@1",
            values[-1],
            "",
            None,
            (min(values[:-1]), max(values[:-1])),
            f"{SETTINGS} random settings, half an epoch each; range over seeds{other_commits(runs)}",
            tuple(range(SEEDS)),
        )
        for name, values in agreement(runs).items()
    ]


def agreement(runs: list[RandomRun]) -> dict[Objective, list[float]]:
    """Spearman's rank correlation of each metric with test retrieval: for each seed, then for the means.

    Settings that diverged with any seed are left out: every metric ranks them last.
    """
    seeds = sorted({run.seed for run in runs})
    by_key = {(run.number, run.seed): run for run in runs if run.test is not None}
    whole = [i for i in sorted({run.number for run in runs}) if all((i, seed) in by_key for seed in seeds)]
    tests = np.array([[by_key[i, seed].test for i in whole] for seed in seeds], dtype=float)

    def kept(metric: Objective) -> NDArray[np.float64]:
        sign = 1 if HIGHER_IS_BETTER[metric] else -1
        return np.array(
            [[sign * by_key[i, seed].curve[-1][f"best/{metric}"] for i in whole] for seed in seeds]
        )

    return {
        metric: [
            *(float(spearmanr(v, t).statistic) for v, t in zip(kept(metric), tests, strict=True)),
            float(spearmanr(kept(metric).mean(0), tests.mean(0)).statistic),
        ]
        for metric in get_args(Objective)
    }
