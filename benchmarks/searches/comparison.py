"""Compares searches of Themo and of other libraries on recorded learning curves, in virtual time.

    python -m benchmarks searches --search-seeds 0 1 2 3 4 5 6 7 8 9

The tables are those of `benchmarks.searches.recording`. `make peers` installs the other libraries; missing
libraries are named and left out. All methods search the shipped space without its trusted settings. The first
target is one standard error below a table's best objective; a replay ends there, or after the pairs of 24
full trainings. The second target is the median of random search's best objectives after 24 full trainings.
Replays are cached in ``logs/bench/searches.jsonl`` by the content of the table, the space and the budget; a
row names the commits of cached replays. Delete the file after a change of a search's code. Draws
searches-on-curves.png into ``logs/bench``, or into ``docs`` with ``--publish``.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import cached_results, plots
from benchmarks.measure import Options, Row
from benchmarks.searches.calibration import held_ends, held_ends_in_searches
from benchmarks.searches.curves import read
from benchmarks.searches.left_out import error_row, reach_row
from benchmarks.searches.ours import Ours
from benchmarks.searches.peers import PEERS
from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.replay import Method, Oracle, Replay, oracle_of, replay
from themo.files.cache import digest
from themo.process.progress import track
from tune.space.search_space import Space

TABLES = Path(__file__).parent / "tables"
KEPT = Path("logs/bench/searches.jsonl")
PICTURE = "searches-on-curves.png"
SLOTS = (1, 4)
BUDGET = 24
"""Full trainings after which a replay ends."""

Factory = Callable[[Space, int, Facts], Method]


def _ours(space: Space, seed: int, facts: Facts, *, searcher: str, scheduler: str) -> Method:
    changes = {"searcher": searcher, "scheduler": scheduler, "seed": seed, "num_samples": 1000}
    search = space.search.model_copy(update=changes)
    return Ours(replace(space, search=search).for_trials(facts.whole))


OURS: Mapping[str, Factory] = {
    "Themo: forecast, freeze-thaw": partial(_ours, searcher="forecast", scheduler="freeze-thaw"),
    "Themo: tpe, pausing-asha": partial(_ours, searcher="tpe", scheduler="pausing-asha"),
    "Themo: tpe, asha": partial(_ours, searcher="tpe", scheduler="asha"),
}
METHODS: Mapping[str, Factory] = {**OURS, **PEERS}
RANDOM = "random"


@dataclass(frozen=True, order=True)
class Task:
    """One replay: table, slots, method and seed."""

    table: str
    slots: int
    method: str
    seed: int


def run(options: Options) -> list[Row]:
    """Full trainings until the targets for each method, surrogate's error, and forecasts' coverage."""
    paths = [path for path in sorted(TABLES.glob("*.parquet")) if path.stem in options.worlds]
    oracles = {path.stem: oracle_of(read(path)) for path in paths}
    missing = [line for peer in PEERS.values() if (line := peer.missing()) is not None]
    able = [name for name in METHODS if name not in PEERS or PEERS[name].missing() is None]
    tasks = [
        Task(table, slots, method, seed)
        for table in oracles
        for slots in SLOTS
        for method in able
        for seed in options.search_seeds
    ]
    replays = collect(tasks, oracles, KEPT)
    if replays:
        in_one_slot = {task: replayed for task, replayed in replays.items() if task.slots == 1}
        draw(in_one_slot, oracles, plots.path_of(PICTURE, options))
    rows = [row for table, oracle in oracles.items() for row in _rows(table, oracle, replays)]
    for table, oracle in oracles.items():
        rows += [error_row(table, oracle), reach_row(table, oracle)]
        rows += [held_ends(table, oracle), held_ends_in_searches(table, oracle)]
    return rows + [Row("another library", None, "", detail=line) for line in missing]


def collect(tasks: Sequence[Task], oracles: Mapping[str, Oracle], kept: Path) -> dict[Task, Replay]:
    """The cached replays, and missing ones, replayed one after the other."""
    inputs = {table: digest([oracle.digest, BUDGET]) for table, oracle in oracles.items()}
    known = dict(_read(kept, inputs))
    missing = [task for task in tasks if task not in known]
    with warnings.catch_warnings(), track("Replaying", len(missing), "searches") as advance:
        warnings.simplefilter("ignore")  # the libraries' own deprecations
        for task in missing:
            known[task] = play(task, oracles[task.table])
            entry = {"task": asdict(task), "replay": asdict(known[task])}
            cached_results.append(kept, {"inputs": inputs[task.table]} | entry)
            advance(1)
    return {task: known[task] for task in tasks}


def _read(kept: Path, inputs: Mapping[str, str]) -> Iterator[tuple[Task, Replay]]:
    for entry in cached_results.read(kept):
        if entry.get("inputs") == inputs.get(entry["task"]["table"], ""):
            yield Task(**entry["task"]), Replay(**entry["replay"])


def play(task: Task, oracle: Oracle) -> Replay:
    """Replay one search."""
    method = METHODS[task.method](oracle.space, task.seed, Facts.of(oracle, task.slots))
    return replay(method, oracle, slots=task.slots, budget=BUDGET * oracle.whole, bar=oracle.bar)


def _rows(table: str, oracle: Oracle, replays: Mapping[Task, Replay]) -> Iterator[Row]:
    for slots in SLOTS:
        of = {
            task: replayed for task, replayed in replays.items() if (task.table, task.slots) == (table, slots)
        }
        for goal, bar in _bars(oracle, of).items():
            for method in dict.fromkeys(task.method for task in of):
                found = {task.seed: replayed for task, replayed in of.items() if task.method == method}
                reached = [replayed.until(bar) / oracle.whole for replayed in found.values()]
                low, high = np.quantile(reached, [0.25, 0.75], method="nearest")
                share = statistics.mean(map(math.isfinite, reached))
                best = statistics.median(replayed.bests[-1] for replayed in found.values())
                yield Row(
                    f"{table}, {slots} {'slot' if slots == 1 else 'slots'}, {goal}: {method}",
                    statistics.median_high(reached),
                    "trainings",
                    spread=(float(low), float(high)),
                    detail=f"reached {share:.0%} of {len(reached)} seeds within {BUDGET}; "
                    f"upper median and quartiles; {len(oracle.firsts)} recorded curves, "
                    f"target {bar:.4f}, median best {best:.3f}"
                    f"{cached_results.other_commits(found.values())}",
                    seeds=tuple(found),
                )


def _bars(oracle: Oracle, of: Mapping[Task, Replay]) -> dict[str, float]:
    """Objectives to reach, by name."""
    bars = {"the best less an error": oracle.bar}
    if random := [replayed.bests[-1] for task, replayed in of.items() if task.method == RANDOM]:
        bars["as random search"] = statistics.median(random)
    return bars


def draw(replays: Mapping[Task, Replay], oracles: Mapping[str, Oracle], picture: Path) -> None:
    """Plot the median of the best objective so far over full trainings, one panel per table."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(oracles), 4.6), dpi=120, layout="constrained")
    places = np.linspace(0.1, BUDGET, 240)
    for panel, (table, oracle) in enumerate(oracles.items()):
        axes = figure.add_subplot(1, len(oracles), panel + 1)
        axes.set_prop_cycle(color=[colormaps["tab20"](i) for i in range(len(METHODS))])
        for method in METHODS:
            of = [c for t, c in replays.items() if (t.table, t.method) == (table, method)]
            if of:
                bests = np.median([_bests(replayed, oracle, places) for replayed in of], axis=0)
                style = {"linewidth": 2.4} if method in OURS else {"linewidth": 1.0, "linestyle": "--"}
                axes.plot(places, 1 - bests, label=method, **style)
        axes.axhline(1 - oracle.bar, color="black", linewidth=0.7)
        axes.set(title=f"{table}: {len(oracle.firsts)} curves", xlabel="full trainings", yscale="log")
        axes.set_ylabel("1 - best objective so far, median over seeds")
    figure.axes[-1].legend(fontsize="x-small")
    plots.save(figure, picture)


def _bests(
    replayed: Replay, oracle: Oracle, places: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> list[float]:
    """The best objective so far at numbers of full trainings; 0 before the first report."""
    spent = np.array(replayed.pairs) / oracle.whole
    indices = np.searchsorted(spent, places, side="right") - 1
    return [replayed.bests[i] if i >= 0 else 0.0 for i in indices]
