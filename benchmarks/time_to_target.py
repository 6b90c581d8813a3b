"""Epochs until a real search reaches a target: Themo and others, by seed.

The figures are total epochs of all trials, counted from the reports, with one trial at a time. Machine and
load have no effect. All methods search the shipped space without its trusted settings, with Themo's training;
Ray uses our rungs, Optuna its median pruner. Random search is replayed from the recorded curves. Ended
searches are cached in ``logs/bench/time_to_target.jsonl`` by settings, space and target; a row names the
commits of cached searches. Delete the file after a change of the code of searches or training. Draws
real-searches.png into ``logs/bench``, or into ``docs`` with ``--publish``.

    python -m benchmarks time_to_target
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import cached_results, plots
from benchmarks.course import Course, Target
from benchmarks.measure import Options, Row
from benchmarks.other_searches import optuna_alone, random_on_curves, ray_stock
from benchmarks.search_efficiency import search, without_first
from benchmarks.searches.curves import read
from benchmarks.searches.recording import AMOUNTS, FILES
from themo.config import settings as config
from themo.process.progress import track
from tune.space.search_space import Space

TARGET = Target(bar=0.990, limit=28.8)
"""Fixed: on the miniature before 2026-11-28, 0.990 was random search's median val/retrieval@01 with 32
full trials, and 28.8 is 0.3 of its epochs (docs/experiments/training-saved.md)."""
ORDERS = 400
KEPT = Path("logs/bench/time_to_target.jsonl")
PICTURE = "real-searches.png"

Method = Callable[[Space, config.Settings, Target, int], Course]


def _ours(
    space: Space, settings: config.Settings, target: Target, seed: int, *, searcher: str, scheduler: str
) -> Course:
    return search(space.searched_by(searcher=searcher, scheduler=scheduler), settings, target, seed)


METHODS: Mapping[str, Method] = {
    "Themo: forecast, freeze-thaw": partial(_ours, searcher="forecast", scheduler="freeze-thaw"),
    "Ray: OptunaSearch, ASHA": ray_stock,
    "Themo: tpe, asha": partial(_ours, searcher="tpe", scheduler="asha"),
    "Themo: tpe, pausing-asha": partial(_ours, searcher="tpe", scheduler="pausing-asha"),
    "Optuna: TPE, median pruner": optuna_alone,
}
RANDOM = "random, no stopping"


def run(options: Options) -> list[Row]:
    """Rows with each method's epochs to the target: upper median and range over seeds or orders."""
    settings = config.load()
    n_random = AMOUNTS["miniature"].n_random
    recorded = read(FILES / "miniature.parquet")
    curves = [curve for curve in recorded if curve.number < n_random and curve.seed == 0]
    random = [random_on_curves(curves, settings.training.epochs, TARGET, order) for order in range(ORDERS)]
    wanted = [(name, seed) for name in METHODS for seed in options.search_seeds]
    found = collect_courses(wanted or None, settings, TARGET, KEPT)
    kept = {name: sorted(seed for method, seed in found if method == name) for name in METHODS}
    courses = {name: [found[name, seed] for seed in seeds] for name, seeds in kept.items() if seeds}
    draw({RANDOM: random, **courses}, TARGET, plots.path_of(PICTURE, options))
    low, high = np.quantile([course.until for course in random], [0.1, 0.9], method="nearest")
    detail = f"{ORDERS} orders of {len(curves)} recorded settings; target {TARGET.bar}"
    rows = [
        row(RANDOM, random, f"{detail}; spread: 10 and 90 % quantiles", (float(low), float(high)), seeds=(0,))
    ]
    return rows + [
        row(name, of_seeds, ", ".join(map(str, of_seeds)), seeds=kept[name])
        for name, of_seeds in courses.items()
    ]


def row(
    name: str,
    courses: Sequence[Course],
    detail: str,
    spread: tuple[float, float] | None = None,
    seeds: Sequence[int] = (),
) -> Row:
    """A row with the upper median of epochs to the target; infinite if half of the searches missed it."""
    epochs = [course.until for course in courses]
    median = statistics.median_high(epochs)
    spread = spread or (min(epochs), max(epochs))
    detail = f"upper median; {detail}{cached_results.other_commits(courses)}"
    return Row(f"to the target: {name}", median, "epochs", None, spread, detail, tuple(seeds))


def collect_courses(
    wanted: Sequence[tuple[str, int]] | None,
    settings: config.Settings,
    target: Target,
    kept: Path,
    methods: Mapping[str, Method] = METHODS,
) -> dict[tuple[str, int], Course]:
    """The wanted courses: cached ones, and missing ones, run one after the other.

    Args:
        wanted: Names of methods with seeds; None: all cached courses.
        settings: Settings of the training.
        target: The condition that ends each search.
        kept: File of cached courses.
        methods: The search methods by name.
    """
    space = without_first(settings)
    inputs = cached_results.inputs_of(settings, space.to_tree(), asdict(target))
    known = read_courses(kept, target, inputs)
    wanted = list(known) if wanted is None else wanted
    missing = [each for each in wanted if each not in known]
    with track("Searching", len(missing), "searches") as advance:
        for name, seed in missing:
            course = known[name, seed] = methods[name](space, settings, target, seed)
            entry = {
                "inputs": inputs,
                "method": name,
                "seed": seed,
                "bar": target.bar,
                "limit": target.limit,
                "commit": course.commit,
                "until": course.until if course.best >= target.bar else None,
                "best": course.best,
                "epochs": course.epochs,
                "trials": course.trials,
                "reports": course.reports,
            }
            cached_results.append(kept, entry)
            advance(1)
    return {each: known[each] for each in wanted}


def read_courses(kept: Path, target: Target, inputs: str) -> dict[tuple[str, int], Course]:
    """Cached courses of searches with this target and digest of their inputs, by method and seed."""
    return {
        (entry["method"], entry["seed"]): Course(
            target, [tuple(report) for report in entry["reports"]], entry["commit"]
        )
        for entry in cached_results.read(kept)
        if entry.get("inputs") == inputs
    }


def draw(courses: Mapping[str, Sequence[Course]], target: Target, picture: Path) -> None:
    """Plot the best objective over epochs, one panel per method: median, and a band from worst to best seed.

    Random search's band spans the 10th to the 90th percentile of its orders; its median is in every panel.
    """
    from matplotlib.figure import Figure

    grid = np.linspace(0, target.limit, 1_000)
    bests = {name: np.array([one.best_at(grid) for one in some]) for name, some in courses.items()}
    figure = Figure(figsize=(9, 5), dpi=110, layout="constrained")
    panels = figure.subplots(
        2, math.ceil(len(courses) / 2), sharex=True, sharey=True, squeeze=False
    ).flatten()
    for panel in panels[len(courses) :]:
        panel.set_axis_off()
    for panel, (name, of_seeds) in zip(panels, bests.items(), strict=False):
        ends = (0.1, 0.9) if name == RANDOM else (0, 1)
        low, median, high = np.quantile(of_seeds, [ends[0], 0.5, ends[1]], axis=0)
        panel.fill_between(grid, low, high, color="C0", alpha=0.15, linewidth=0)
        panel.plot(grid, np.median(bests[RANDOM], axis=0), color="0.6", linewidth=1)
        panel.plot(grid, median, color="C0")
        panel.axhline(target.bar, color="black", linestyle="--", linewidth=0.8)
        n_there = sum(one.until <= target.limit for one in courses[name])
        panel.set_title(f"{name}\n{n_there} of {len(of_seeds)} at the target", fontsize="medium")
        # logarithmic in the error: 0.98 to 0.99 is as far as 0.8 to 0.9
        panel.set_yscale("function", functions=(lambda y: -np.log10(1.001 - y), lambda z: 1.001 - 10**-z))
        panel.set(xlim=(0, target.limit), ylim=(0.4, 0.993))
        panel.set_yticks(ticks := [0.5, 0.8, 0.9, 0.95, 0.98, 0.99], [f"{tick:g}" for tick in ticks])
    figure.supxlabel("epochs over all trials")
    figure.supylabel("best objective (random search's median in grey)")
    plots.save(figure, picture)
