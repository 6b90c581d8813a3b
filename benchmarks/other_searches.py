"""Other search methods on the same space and training, recorded as a `benchmarks.course.Course`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
from optuna.pruners import MedianPruner

from benchmarks.course import Course, Target
from benchmarks.random_settings import FIRST_PEER_SEED
from benchmarks.searches.curves import Curve
from themo.config import settings as config
from themo.data.preparation import prepare_data
from themo.process.progress import silence
from themo.training.loop import Report, train
from tune.cluster.connection import RAY_VARIABLES, leave
from tune.searchers.distributions import distributions_of
from tune.space.search_space import Space


def random_on_curves(curves: Sequence[Curve], epochs: float, target: Target, seed: int) -> Course:
    """Random search without stopping, as in the original: recorded settings in a random order.

    Args:
        curves: Whole curves of random settings.
        epochs: Epochs of a full training.
        target: The condition that ends the search.
        seed: Seed of the order.
    """
    course = Course(target)
    whole = max(curve.pairs[-1] for curve in curves)
    for trial, number in enumerate(np.random.default_rng(seed).permutation(len(curves))):
        curve = curves[number]
        for pairs, value in zip(curve.pairs, curve.values, strict=True):
            course.enter(trial, epochs * pairs / whole, value)
    return course


@silence()
def optuna_alone(
    space: Space,
    settings: config.Settings,
    target: Target,
    seed: int,
) -> Course:
    """Optuna in one process with its default sampler and its default pruner.

    A step is a report: pruners compare trials at equal steps, and with different batch sizes trials do not
    report at equal numbers of sentence pairs.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data, objective, course = prepare_data(settings), settings.objective, Course(target)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=FIRST_PEER_SEED + seed),
        pruner=MedianPruner(),
    )
    while not course.is_over:
        trial = study.ask(distributions_of(space.dimensions))
        try:
            report = partial(_report_to_optuna, trial, count(1), objective, course)
            last = train(settings.override(trial.params), data, report=report)
            study.tell(trial, last.metrics[f"best/{objective}"])
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except FloatingPointError:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return course


def _report_to_optuna(
    trial: optuna.Trial, steps: Iterator[int], objective: str, course: Course, report: Report
) -> None:
    course.enter(trial.number, report.metrics["epoch"], report.metrics[objective])
    trial.report(report.metrics[objective], next(steps))
    if course.is_over or (not report.is_last and trial.should_prune()):
        raise optuna.TrialPruned


def ray_stock(space: Space, settings: config.Settings, target: Target, seed: int) -> Course:
    """Ray Tune with its OptunaSearch and its ASHA at our rungs, on a cluster with one slot."""
    for name, value in RAY_VARIABLES.items():
        os.environ.setdefault(name, value)
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    course = Course(target)
    numbers: dict[str, int] = {}
    data = prepare_data(settings)
    whole = settings.training.epochs * data.pairs_an_epoch

    class Account(ray_tune.Stopper):  # type: ignore[misc]  # Ray has no types
        """Records every report on the driver; stops the search when it is over, never a single trial."""

        def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
            if not course.is_over:
                number = numbers.setdefault(trial_id, len(numbers))
                course.enter(number, result["epoch"], result["objective"])
            return False

        def stop_all(self) -> bool:
            return course.is_over

    _start_ray()
    try:
        with TemporaryDirectory() as folder:
            ray_tune.run(
                partial(_train_on_worker, settings=settings),
                metric="objective",
                mode="max",
                num_samples=-1,
                search_alg=OptunaSearch(
                    distributions_of(space.dimensions),
                    metric="objective",
                    mode="max",
                    seed=FIRST_PEER_SEED + seed,
                ),
                scheduler=ASHAScheduler(
                    time_attr="pairs_seen",
                    grace_period=space.for_trials(whole).search.first_rung,
                    reduction_factor=space.search.reduction_factor,
                    max_t=round(whole),
                ),
                max_concurrent_trials=1,
                resources_per_trial={"cpu": 1},
                stop=Account(),
                storage_path=folder,
                raise_on_failed_trial=False,
                reuse_actors=True,
                verbose=0,
            )
    finally:
        leave()
    return course


def _start_ray(attempts: int = 5) -> None:
    """Start a cluster with one slot; retry if Ray times out on a busy machine."""
    import ray

    while True:
        attempts -= 1
        try:
            ray.init(
                address="local",
                num_cpus=1,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=100_000_000,
            )
            return
        except Exception as error:  # Ray has no specific exception for it
            if not attempts or "timed out during startup" not in str(error):
                raise
            leave()


@silence()
def _train_on_worker(params: dict[str, Any], settings: config.Settings) -> None:
    from ray import tune as ray_tune

    def report(report: Report) -> None:
        metrics = report.metrics
        ray_tune.report(
            {
                "objective": metrics[settings.objective],
                "epoch": metrics["epoch"],
                "pairs_seen": metrics["pairs_seen"],
            }
        )

    train(settings.override(params), prepare_data(settings), report=report)
