"""Epochs until a search has what random search without stopping finds: ours against others, seed by seed.

Counted are epochs over all trials, by the trials' reports, one trial at a time: machine and load change
nothing. All search the space that comes with Themo without its trusted settings, and train as Themo does;
Ray's rungs are ours, Optuna's own pruners are as they come. A search is given up after 0.3 of what random
search spends. Searches that have ended are kept in a file under ``logs/bench`` and not repeated; those of
another commit are the user's to delete. Draws docs/time-to-target.png.

    python -m benchmarks time_to_target
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from optuna.pruners import SuccessiveHalvingPruner

from benchmarks.course import GIVE_UP, LOG, SETTINGS, TRAINED, Course, Target, random_search
from benchmarks.measure import Options, Row
from benchmarks.other_searches import optuna_alone, random_alone, ray_stock
from benchmarks.random_settings import collect
from benchmarks.search_efficiency import search, without_first
from themo import config
from themo.environment import commit
from themo.progress import track
from tune.space import Space

ORDERS = 400
KEPT = Path("logs/bench/time_to_target.jsonl")
PICTURE = Path("docs/time-to-target.png")

Method = Callable[[Space, config.Settings, Target, int], Course]


def _ours(space: Space, settings: config.Settings, target: Target, seed: int, *, scheduler: str) -> Course:
    return search(space.searched_by(scheduler=scheduler), settings, target, seed)


METHODS: Mapping[str, Method] = {
    "Optuna: TPE, median pruner": optuna_alone,
    "Ray: OptunaSearch, ASHA": ray_stock,
    "Themo: tpe, pausing-asha": partial(_ours, scheduler="pausing-asha"),
    "Themo: tpe, asha": partial(_ours, scheduler="asha"),
    "Optuna: TPE, successive halving": partial(optuna_alone, pruner_of=SuccessiveHalvingPruner),
}
RANDOM = "random, no stopping"


def run(options: Options) -> list[Row]:
    """A row a method: epochs to the bar, median, least and most over seeds; for random search over orders."""
    settings = config.load()
    runs = collect(TRAINED, 1, settings, LOG)
    bar, spent = random_search(runs, settings)
    target = Target(bar, GIVE_UP * spent)
    random = [random_alone(runs, settings.objective, Target(bar), order) for order in range(ORDERS)]
    wanted = [(name, seed) for seed in options.search_seeds for name in METHODS]
    found = collect_courses(wanted, settings, target, KEPT)
    courses = {name: [found[name, seed] for seed in options.search_seeds] for name in METHODS}
    draw({RANDOM: random, **courses}, target, spent, PICTURE)
    low, high = np.quantile([course.until for course in random], [0.1, 0.9], method="nearest")
    told = (
        f"{ORDERS} orders of {TRAINED} random settings; bar {bar:.4f}, the median best of {SETTINGS} of them"
    )
    rows = [row(RANDOM, random, f"{told}; spread: 10 and 90 %", (float(low), float(high)), seeds=(0,))]
    return rows + [
        row(name, of_seeds, ", ".join(map(str, of_seeds)), seeds=options.search_seeds)
        for name, of_seeds in courses.items()
    ]


def row(
    name: str,
    courses: Sequence[Course],
    detail: str,
    spread: tuple[float, float] | None = None,
    seeds: Sequence[int] = (),
) -> Row:
    """The median epochs to the bar; infinite where half of the searches or more did not get there."""
    epochs = [course.until for course in courses]
    median = statistics.median_high(epochs)
    spread = spread or (min(epochs), max(epochs))
    return Row(f"to the target: {name}", median, "epochs", None, spread, detail, tuple(seeds))


def collect_courses(
    wanted: Sequence[tuple[str, int]],
    settings: config.Settings,
    target: Target,
    kept: Path,
    methods: Mapping[str, Method] = METHODS,
) -> dict[tuple[str, int], Course]:
    """The courses of methods and seeds, one search after the other; those that the file holds not again."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    known = read_courses(kept, target)
    space = without_first(settings)
    missing = [each for each in wanted if each not in known]
    with track("Searching", len(missing), "searches") as advance:
        for name, seed in missing:
            course = known[name, seed] = methods[name](space, settings, target, seed)
            entry = {
                "method": name,
                "seed": seed,
                "bar": target.bar,
                "limit": target.limit,
                "commit": commit(),
                "until": course.until if course.best >= target.bar else None,
                "best": course.best,
                "epochs": course.epochs,
                "trials": course.trials,
                "reports": course.reports,
            }
            with kept.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            advance(1)
    return {each: known[each] for each in wanted}


def read_courses(kept: Path, target: Target) -> dict[tuple[str, int], Course]:
    """What searches with this target have left, by method and seed."""
    lines = kept.read_text().splitlines() if kept.exists() else []
    entries = [json.loads(line) for line in lines]
    return {
        (entry["method"], entry["seed"]): Course(target, [tuple(report) for report in entry["reports"]])
        for entry in entries
        if (entry["bar"], entry["limit"]) == (target.bar, target.limit)
    }


def draw(courses: Mapping[str, Sequence[Course]], target: Target, spent: float, picture: Path) -> None:
    """Best objective against epochs: medians as lines, in bands from the worst seed to the best.

    Random search's band, over its orders, leaves out a tenth at either side.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid = np.linspace(0, spent, 1_000)
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, (name, of_seeds) in enumerate(courses.items()):
        bests = np.array([course.best_at(grid) for course in of_seeds])
        ends = (0.1, 0.9) if name == RANDOM else (0, 1)
        low, median, high = np.quantile(bests, [ends[0], 0.5, ends[1]], axis=0)
        shown = grid <= (spent if name == RANDOM else target.limit)
        colour = "0.45" if name == RANDOM else f"C{place - 1}"
        axes.fill_between(grid[shown], low[shown], high[shown], color=colour, alpha=0.12, linewidth=0)
        axes.plot(grid[shown], median[shown], color=colour, label=name)
    axes.axhline(target.bar, color="black", linestyle="--", linewidth=1, label=f"target {target.bar:.3f}")
    axes.set(xlabel="epochs over all trials", ylabel="best objective", ylim=(0.5, 1.0), xlim=(0, spent))
    axes.legend(loc="lower right", frameon=False, fontsize="small")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)
