"""How much training does the search save? Epochs until it has what random search without stopping finds.

Random search trains every setting to its end, as the original did; the end is half an epoch here. The search
proposes by TPE and stops by successive halving; its own code decides, trial after trial in one process, so
that what is counted is what it decides and not how many workers there are. The trusted settings of `first`
are left out: they would give the search the answer.

    python -m benchmarks.search_efficiency --trials 20 --seeds 3
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.measure import Goal, Options, Row, table
from benchmarks.objectives import LOG, base_settings, collect
from themo import config
from themo.preparation import prepare_data
from themo.training import HIGHER_IS_BETTER, Report, train
from tune.asha import Rungs
from tune.proposals import propose
from tune.space import load as load_space
from tune.study import Study


class Stopped(Exception):  # noqa: N818 -- no error: a decision
    """A trial is not to go on."""


def search(seed: int, trials: int) -> Iterator[tuple[float, float]]:
    """Epochs spent so far and the best objective so far, after every report of a search."""
    settings = base_settings()
    space = load_space(config.space_path(), settings)
    own = {"seed": seed, "grace_pairs": 2_000}  # the first rung as far from the end as half an epoch allows
    space = replace(space, first=(), search=space.search.model_copy(update=own))
    objective = settings.training.objective
    mode = "max" if HIGHER_IS_BETTER[objective] else "min"
    data = prepare_data(settings)
    study, rungs = Study(None, mode), Rungs(space.search, mode)
    epochs, events = 0.0, []
    for _ in range(trials):
        trial = study.add(propose(space, study))
        before = {"epoch": 0.0, "pairs": 0}

        def report(last: Report, number: int = trial.number, before: dict[str, float] = before) -> None:
            nonlocal epochs
            pairs = int(last.metrics["pairs_seen"])
            study.report(number, last.metrics, objective)
            epochs += last.metrics["epoch"] - before["epoch"]
            events.append((epochs, last.metrics[f"best/{objective}"]))
            passed, before["epoch"], before["pairs"] = int(before["pairs"]), last.metrics["epoch"], pairs
            if not last.is_last and not rungs.goes_on(number, passed, pairs, study[number].best(mode)):
                raise Stopped

        try:
            train(settings.override(trial.params), data, report=report)
            study.finish(trial.number, "COMPLETE")
        except Stopped:
            study.finish(trial.number, "PRUNED")
        except FloatingPointError as error:
            study.finish(trial.number, "FAIL", str(error))
        yield from events
        events.clear()


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its settings and seeds are its own
    """One row: the median share over the seeds of the search."""
    return [measure(trials=20, seeds=3, log=LOG)]


def measure(trials: int, seeds: int, log: Path) -> Row:
    """Epochs of the search until the best of random search, as a share of random search's epochs."""
    objective = config.load().training.objective
    runs = [entry for entry in collect(trials, 1, log) if entry["seed"] == 0]
    bests = [entry["scores"][objective] if "scores" in entry else 0.0 for entry in runs]
    epochs = np.cumsum([entry["curve"][-1]["epoch"] if entry["curve"] else 0.0 for entry in runs])
    target, spent = max(bests), float(epochs[-1])
    shares, told = [], []
    for seed in range(seeds):
        best, used = 0.0, 0.0
        for used, value in search(seed, trials):  # noqa: B007 -- read after the loop
            best = max(best, value)
            if value >= target:
                break
        reached = best >= target
        shares.append(used / spent if reached else math.inf)
        told.append(f"seed {seed}: {used:.1f}" if reached else f"seed {seed}: {best:.4f} after {used:.1f}")
    return Row(
        f"search: epochs until random search's best {objective}",
        statistics.median(shares),
        "of random's",
        Goal(0.25, "<"),
        (min(shares), max(shares)),
        f"{trials} random settings to their ends: {spent:.0f} epochs, best {target:.4f} "
        f"after {epochs[int(np.argmax(bests))]:.0f}; search {', '.join(told)}",
        tuple(range(seeds)),
    )


def main() -> None:
    """Run and print the row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=20, help="settings of the random search (20)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the search (3)")
    parser.add_argument("--log", type=Path, default=LOG)
    options = parser.parse_args()
    Console(width=180).print(table([measure(options.trials, options.seeds, options.log)]))


if __name__ == "__main__":
    main()
