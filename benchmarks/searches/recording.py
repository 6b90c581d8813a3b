"""Records complete learning curves of the search space, one file per world; continues an existing file.

    python -m benchmarks.searches.recording miniature
    python -m benchmarks.searches.recording tatoeba --tatoeba FOLDER --beto FOLDER

Two thirds of the settings are uniform draws. The last third lies near the best of them, where searchers
search. The best settings and the trusted settings are trained with further seeds. Each training has one
thread. The file is written after every training, so that a kill loses only the running trainings.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Options, describe_machine
from benchmarks.random_settings import draw
from benchmarks.search_efficiency import without_first
from benchmarks.searches.curves import Curve, read, read_about, write
from benchmarks.searches.worlds import WORLDS
from themo.checkpoints.environment import commit
from themo.config.presets import space_path
from themo.config.settings import Settings
from themo.data.preparation import prepare_data
from themo.process.progress import silence, track
from themo.training.loop import Report, train
from tune.space.cube import decode, encode
from tune.space.dimensions import Scalar
from tune.space.search_space import Space
from tune.space.search_space import load as load_space

FILES = Path("benchmarks/searches/tables")
TRUSTED = 1_000
"""Number of the first trusted setting; the space's settings have lower ones."""
_REDRAWN, _SHIFT, _PARENTS = 0.25, 0.08, 20
"""Settings near good ones: share of redrawn dimensions; standard deviation of the others in the unit cube."""


@dataclass(frozen=True)
class Amount:
    """Amount to record: number of settings, of settings with further seeds, and of seeds per setting."""

    n_settings: int
    n_seeded: int = 30
    n_seeds: int = 5

    @property
    def n_random(self) -> int:
        """Uniform draws among the settings."""
        return self.n_settings * 2 // 3


AMOUNTS = {"miniature": Amount(300), "tatoeba": Amount(100)}

Job = tuple[int, int, dict[str, Scalar]]
"""A training: number of the setting, seed, settings."""


def jobs(
    amount: Amount, space: Space, trusted: Sequence[Mapping[str, Scalar]], known: Sequence[Curve]
) -> list[Job]:
    """The next stage of trainings: uniform settings, then settings near the best, then further seeds."""
    drawn = dict(enumerate(draw(amount.n_random))) | {
        TRUSTED + i: dict(params) for i, params in enumerate(trusted)
    }
    firsts = {curve.number: curve for curve in known if curve.seed == 0}
    done = {(curve.number, curve.seed) for curve in known}

    def missing(settings: dict[int, dict[str, Scalar]], seeds: Sequence[int]) -> list[Job]:
        return [(n, seed, p) for seed in seeds for n, p in settings.items() if (n, seed) not in done]

    if stage := missing(drawn, [0]):
        return stage
    uniform = [firsts[number] for number in range(amount.n_random)]
    parents = sorted(uniform, key=lambda curve: (-curve.best, curve.number))[:_PARENTS]
    beside = dict(zip(range(amount.n_random, amount.n_settings), _beside(space, parents), strict=False))
    if stage := missing(beside, [0]):
        return stage
    searched = [curve for number, curve in firsts.items() if number < TRUSTED]
    best = sorted(searched, key=lambda curve: (-curve.best, curve.number))[: amount.n_seeded]
    seeded = {curve.number: curve.params for curve in best} | {n: p for n, p in drawn.items() if n >= TRUSTED}
    return missing(seeded, range(1, amount.n_seeds))


def _beside(space: Space, parents: Sequence[Curve]) -> Iterator[dict[str, Scalar]]:
    random = np.random.default_rng(0)
    while True:
        for parent in parents:
            places = {name: encode(d, parent.params[name]) for name, d in space.dimensions.items()}
            for name in places:
                shifted = float(np.clip(places[name] + _SHIFT * random.standard_normal(), 0, 1))
                places[name] = float(random.random()) if random.random() < _REDRAWN else shifted
            yield {name: decode(d, places[name]) for name, d in space.dimensions.items()}


@silence()
def record(job: Job, settings: Settings) -> Curve:
    """Train one setting to its end on one thread."""
    torch.set_num_threads(1)
    number, seed, params = job
    settings = settings.override(params | {"seed": seed})
    data = prepare_data(settings)
    reports: list[tuple[int, float, float]] = []
    start = time.process_time()

    def enter(report: Report) -> None:
        metrics = report.metrics
        seconds = time.process_time() - start
        reports.append((int(metrics["pairs_seen"]), metrics[settings.objective], seconds))

    reason = ""
    try:
        train(settings, data, report=enter)
    except FloatingPointError as error:
        reason = str(error)
    pairs, values, seconds = zip(*reports, strict=True) if reports else ((), (), ())
    return Curve(number, seed, params, pairs, values, seconds, reason)


def main(arguments: list[str] | None = None) -> int:
    """Record the missing curves; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.searches.recording", description=__doc__)
    parser.add_argument("world", choices=list(WORLDS))
    parser.add_argument("--tatoeba", type=Path, default=os.environ.get("THEMO_BENCH_TATOEBA"))
    parser.add_argument("--beto", type=Path, default=os.environ.get("THEMO_BENCH_BETO"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args(arguments)
    try:
        settings = WORLDS[asked.world](Options(asked.tatoeba, asked.beto))
    except FileNotFoundError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    path = FILES / f"{asked.world}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    prepare_data(settings)
    space, trusted = without_first(settings), load_space(space_path(), settings).first
    known = read(path)
    about = read_about(path) if known else {}
    about |= {
        "command": f"python -m benchmarks.searches.recording {asked.world}",
        "objective": settings.objective,
        "commits": _joined(about.get("commits", ""), commit()),
        "machines": _joined(about.get("machines", ""), describe_machine()),
    }
    amount = AMOUNTS[asked.world]
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        while stage := jobs(amount, space, trusted, known):
            with track(f"Recording {asked.world}", len(stage), "trainings") as advance:
                for done in as_completed(
                    [pool.submit(partial(record, settings=settings), job) for job in stage]
                ):
                    known.append(done.result())
                    write(path, known, about)
                    advance(1)
    return 0


def _joined(before: str, now: str) -> str:
    return "; ".join(dict.fromkeys([*filter(None, before.split("; ")), now]))


if __name__ == "__main__":
    raise SystemExit(main())
