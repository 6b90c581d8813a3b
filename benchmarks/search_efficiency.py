"""How much training does the search save? Epochs until it has what random search without stopping finds.

Random search trains every setting to its end, as the original did. The search proposes by TPE and stops by
successive halving; its own code decides here, trial after trial in one process, so that what is counted is
what it decides and not how many workers there are. The trusted settings of `first` are left out: they would
give the search the answer.

    python -m benchmarks.search_efficiency --trials 32 --seeds 3
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.objectives import collect
from themo import config
from themo.environment import commit
from themo.preparation import prepare_data
from themo.progress import console
from themo.training import HIGHER_IS_BETTER, Report, train
from tune.asha import Rungs
from tune.proposals import propose
from tune.space import load as load_space
from tune.study import Study


class Stopped(Exception):  # noqa: N818 -- no error: a decision
    """A trial is not to go on."""


def search(seed: int, trials: int) -> Iterator[tuple[float, float]]:
    """Epochs spent so far and the best objective so far, after every report of a search."""
    settings = config.load().override({"threads": 1})
    space = load_space(config.space_path(), settings)
    space = replace(space, first=(), search=space.search.model_copy(update={"seed": seed}))
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


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24, help="settings of the random search (24)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the search (3)")
    parser.add_argument("--log", type=Path, default=Path("logs/bench/objectives.jsonl"))
    options = parser.parse_args()
    objective = config.load().training.objective
    runs = [entry for entry in collect(options.trials, 1, options.log) if entry["seed"] == 0]
    bests = [entry["scores"][objective] if "scores" in entry else 0.0 for entry in runs]
    epochs = np.cumsum([entry["curve"][-1]["epoch"] if entry["curve"] else 0.0 for entry in runs])
    target, spent = max(bests), float(epochs[-1])
    console.quiet = True
    table = Table(
        title=f"Epochs until {objective} reaches {target:.4f}, the best of {len(runs)} random settings "
        f"trained to their ends ({spent:.0f} epochs; reached after {epochs[int(np.argmax(bests))]:.0f}); "
        f"commit {commit()}"
    )
    for column in ("search seed", "epochs", "share of random search's", "best"):
        table.add_column(column)
    for seed in range(options.seeds):
        best, needed = 0.0, None
        for used, value in search(seed, len(runs)):
            best = max(best, value)
            if value >= target:
                needed = used
                break
        shown = f"{needed:.1f}" if needed is not None else f"not within {used:.1f}"
        table.add_row(str(seed), shown, f"{(needed or used) / spent:.3f}", f"{best:.4f}")
    Console().print(table)


if __name__ == "__main__":
    main()
