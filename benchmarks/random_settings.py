"""Trains random settings of the search space, as a reference for other benchmarks.

Runs are cached in a file under ``logs/bench`` by their settings; rows name the commits of cached runs. Delete
the file after a change of the training's code or of the machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna

from benchmarks import cached_results
from themo.checkpoints.environment import commit
from themo.config import settings as config
from themo.config.presets import space_path
from themo.config.sections import HIGHER_IS_BETTER, Objective
from themo.data.preparation import prepare_data
from themo.evaluation.encoders import examine
from themo.process.progress import silence, track
from themo.training.loop import Report, train
from tune.searchers.distributions import distributions_of
from tune.space.search_space import load as load_space

FIRST_PEER_SEED = 1_000
"""Seed of Optuna's samplers in searches with seed 0: its start-up trials with `draw`'s seed are the recorded
settings, known answers."""


@dataclass(frozen=True)
class RandomRun:
    """One setting trained to its end with one seed.

    Attributes:
        number: Number of the setting, in the order drawn.
        seed: Seed of the training.
        params: The searched settings.
        curve: Metrics of every report until the end or the divergence.
        diverged: Reason of the divergence; empty if there was none.
        test: R@1 of the best student on the test images; None if not requested.
        commit: Commit of the checkout that trained it.
    """

    number: int
    seed: int
    params: dict[str, Any]
    curve: list[dict[str, float]]
    diverged: str = ""
    test: float | None = None
    commit: str = field(default_factory=commit)

    def best(self, metric: Objective) -> float:
        """The best value of a metric over all reports; the worst possible one if the run diverged."""
        if self.diverged:
            return float("-inf") if HIGHER_IS_BETTER[metric] else float("inf")
        pick = max if HIGHER_IS_BETTER[metric] else min
        return pick(report[metric] for report in self.curve)


def draw(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """`n` random settings of the shipped search space, with inactive dimensions, which training ignores."""
    space = load_space(space_path(), config.load())
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [study.ask(fixed_distributions=distributions_of(space.dimensions)).params for _ in range(n)]


@silence()
def train_one(
    number: int, params: dict[str, Any], seed: int, *, settings: config.Settings, tested: bool
) -> RandomRun:
    """Train one setting to its end; with `tested`, score its best student on the test images."""
    settings = settings.override(params | {"seed": seed})
    curve: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        version = Path(folder) / "version_0"

        def report(last: Report) -> None:
            curve.append(last.metrics)
            if last.is_last and tested:
                last.save(version)

        try:
            train(settings, prepare_data(settings), report=report)
        except FloatingPointError as error:
            return RandomRun(number, seed, params, curve, diverged=str(error))
        scores = examine(settings, version, task="retrieval").scores if tested else None
    test = scores.share("student", "retrieval", 1) if scores else None
    return RandomRun(number, seed, params, curve, test=test)


def collect(
    n: int, seeds: int, settings: config.Settings, log: Path, *, tested: bool = False, workers: int = 2
) -> list[RandomRun]:
    """Train `n` settings with every seed in parallel processes; cached runs are not repeated."""
    prepare_data(settings)
    inputs, drawn = cached_results.inputs_of(settings, tested), draw(n)
    known = read_runs(log, inputs, drawn)
    wanted = [(i, seed) for seed in range(seeds) for i in range(n)]
    missing = [(i, drawn[i], seed) for i, seed in wanted if (i, seed) not in known]
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        track("Training random settings", len(missing), "runs") as advance,
    ):
        work = partial(train_one, settings=settings, tested=tested)
        for run in pool.map(work, *zip(*missing, strict=True)) if missing else ():
            cached_results.append(log, {"inputs": inputs} | asdict(run))
            known[run.number, run.seed] = run
            advance(1)
    return [known[each] for each in wanted]


def read_runs(log: Path, inputs: str, drawn: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], RandomRun]:
    """Cached runs of the drawn settings with this digest of their inputs, by number and seed."""
    entries = [entry for entry in cached_results.read(log) if entry.pop("inputs", None) == inputs]
    runs = [RandomRun(**entry) for entry in entries]
    return {
        (run.number, run.seed): run
        for run in runs
        if run.number < len(drawn) and run.params == drawn[run.number]
    }
