"""Which validation metric should a search follow? The one that ranks random settings as the test images do.

Trains random settings of the search space for half an epoch, every one with several seeds, and compares how
val/loss, val/cosine, val/match@01 and retrieval on validation images rank them with how retrieval on the test
images does. The test data choose between four metrics here, once; no setting is ever chosen by them.

    python -m benchmarks.objectives --settings 20 --seeds 3
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.measure import Options, Row
from themo import config
from themo.environment import commit
from themo.progress import track
from tune.space import load as load_space

CANDIDATES = {"val/loss": -1, "val/cosine": 1, "val/match@01": 1, "val/retrieval@01": 1}
"""Metrics and whether more is better."""

LOG = Path("logs/bench/objectives.jsonl")
"""Runs that are done; those of another commit or machine are the user's to delete."""

Run = dict[str, Any]


def base_settings() -> config.Settings:
    """The default preset with half an epoch on one thread: bad settings show by then, good ones differ."""
    return config.load().override({"epochs": 0.5, "report_pairs": 2000, "threads": 1})


def draw(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """`n` random settings of the search space."""
    space = load_space(config.space_path(), config.load())
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [study.ask(fixed_distributions=dict(space.dimensions)).params for _ in range(n)]


def train_and_score(number: int, params: dict[str, Any], seed: int) -> Run:
    """Train one setting to its end and score its best student by every candidate, and on the test images."""
    from themo.preparation import prepare_data
    from themo.progress import console
    from themo.scoring import score_version
    from themo.training import Report, train

    console.quiet = True
    settings = base_settings().override(params | {"seed": seed})
    curve: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder) / "version_0"

        def report(last: Report) -> None:
            curve.append(last.metrics)
            if last.is_last:
                last.save(version)

        try:
            last = train(settings, prepare_data(settings), report=report)
        except FloatingPointError as error:
            return {"number": number, "seed": seed, "params": params, "failed": str(error), "curve": curve}
        scores = {name: last.metrics[f"best/{name}"] for name in CANDIDATES if name != "val/retrieval@01"}
        validation = settings.override(
            {"captions": "miniature:validation/xtd10", "images": "miniature:validation/mscoco"}
        )
        scores["val/retrieval@01"] = score_version(validation, version, task="retrieval").share(
            "student", "retrieval", 1
        )
        scores["test/retrieval@01"] = score_version(settings, version, task="retrieval").share(
            "student", "retrieval", 1
        )
    return {"number": number, "seed": seed, "params": params, "scores": scores, "curve": curve}


def collect(settings: int, seeds: int, log: Path, workers: int = 2) -> list[Run]:
    """All runs, in parallel processes of a thread each; those already in the log are not repeated."""
    from themo.preparation import prepare_data

    prepare_data(base_settings())
    log.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {(entry["number"], entry["seed"]) for entry in done}
    drawn = draw(settings)
    wanted = [
        (i, params, seed) for seed in range(seeds) for i, params in enumerate(drawn) if (i, seed) not in known
    ]
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        track("Training random settings", len(wanted), "runs") as advance,
        log.open("a") as file,
    ):
        for entry in pool.map(train_and_score, *zip(*wanted, strict=True)) if wanted else ():
            file.write(json.dumps(entry) + "\n")
            file.flush()
            done.append(entry)
            advance(1)
    return done


def agreement(runs: list[Run]) -> dict[str, list[float]]:
    """Spearman's rank correlation of each candidate with test retrieval: one value a seed, then of the means.

    Settings that diverged with some seed are left out: every metric ranks them last.
    """
    seeds = sorted({entry["seed"] for entry in runs})
    numbers = sorted({entry["number"] for entry in runs})
    scores = {(entry["number"], entry["seed"]): entry.get("scores") for entry in runs}
    whole = [i for i in numbers if all(scores.get((i, seed)) for seed in seeds)]

    def values(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([[scores[i, seed][name] for i in whole] for seed in seeds])

    test = values("test/retrieval@01")
    return {
        name: [
            *(float(spearmanr(sign * v, t).statistic) for v, t in zip(values(name), test, strict=True)),
            float(spearmanr(sign * values(name).mean(0), test.mean(0)).statistic),
        ]
        for name, sign in CANDIDATES.items()
    }


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its settings and seeds are its own
    """A row a metric: the rank correlation of the means over seeds, the seeds' own as its spread."""
    runs = collect(20, 3, LOG)
    return [
        Row(
            f"{name}: Spearman with test R@1",
            values[-1],
            "",
            None,
            (min(values[:-1]), max(values[:-1])),
            "20 random settings, half an epoch each; range over seeds",
            (0, 1, 2),
        )
        for name, values in agreement(runs).items()
    ]


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", type=int, default=20, help="random settings (20)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each (3)")
    parser.add_argument("--log", type=Path, default=LOG)
    options = parser.parse_args()
    runs = collect(options.settings, options.seeds, options.log)
    table = Table(title=f"Spearman with test R@1, {options.settings} settings, commit {commit()}")
    for column in ("metric", *(f"seed {seed}" for seed in range(options.seeds)), "mean over seeds"):
        table.add_column(column)
    for name, values in agreement(runs).items():
        table.add_row(name, *(f"{value:.3f}" for value in values))
    Console().print(table)


if __name__ == "__main__":
    main()
