"""A search over the formula as a command, to be interrupted and killed.

Arguments: LOGS_DIR NAME, then --resume, or settings of the search, of `Resources` and
time_budget=SECONDS, as NAME=VALUE.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from formula_training import train

from themo.config.settings import Settings
from themo.data.dataset import EncodedPairs, TrainingData
from themo.errors import InputError
from themo.process.signals import Terminated, ended_by_signals
from tune.cluster.address import refuse_unreachable
from tune.cluster.resources import Resources
from tune.driver.session import run_search
from tune.space.search_space import from_tree
from tune.study.naming import search_folder
from tune.study.search import Search, new_search, read_search

N_PAIRS = 900
"""Sentence pairs of a whole trial."""

TREE: dict[str, Any] = {
    "space": {
        "learn_rate": {"log_uniform": [1e-5, 1e-2]},
        "batch_size": {"integer": [32, 256], "step": 16},
        "weight_decay": {"uniform": [0.0, 1.0]},
        "warmup_steps": {"integer": [10, 14]},
    },
    "first": [
        {"learn_rate": 1e-3, "weight_decay": 0.1, "warmup_steps": 13},  # its worker dies once
        {
            "learn_rate": 5e-3,
            "weight_decay": 0.1,
            "warmup_steps": 10,
        },  # worse, yet trained to its end
        {"learn_rate": 1e-3, "weight_decay": 0.9, "warmup_steps": 10},  # diverges
        {"learn_rate": 1e-3, "weight_decay": 0.1, "warmup_steps": 14},  # raises
    ],
    "search": {"num_samples": 8, "grace_pairs": 100, "startup_trials": 6},
}


def settings_in(logs_dir: Path) -> Settings:
    return Settings.model_validate(
        {
            "paths": {"logs_dir": str(logs_dir)},
            "data": {"corpus": ["pairs.tsv"]},
            "teacher": {"architecture": "any"},
            "student": {"backbone": "any"},
            "training": {"threads": 1},
        }
    )


def a_search(logs_dir: Path, name: str, resources: Resources, **changes: object) -> Search:
    settings = settings_in(logs_dir)
    space = from_tree(TREE, settings, source="search.yaml").searched_by(**changes)
    return new_search(name, space, settings, resources)


def no_data(settings: Settings) -> TrainingData:
    """Files that no trial opens."""
    folder = Path(settings.paths.logs_dir) / "data"
    folder.mkdir(exist_ok=True)
    if not (folder / "ids.npy").exists():
        (folder / "ids.npy").write_bytes(bytes(1000))
    pairs = EncodedPairs(folder, folder / "ids.npy")
    return TrainingData(pairs, pairs, backbone="any", parts=((N_PAIRS, 1.0),))


@ended_by_signals()
def run(logs_dir: Path, name: str, *options: str) -> int:
    given = [option.replace("=", ": ", 1) for option in options if option != "--resume"]
    changes = yaml.safe_load("\n".join(given)) or {}
    time_budget = changes.pop("time_budget", None)
    machines = {f.name: changes.pop(f.name) for f in fields(Resources) if f.name in changes}
    if "--resume" in options:
        search = read_search(search_folder(name, settings_in(logs_dir)))
    else:
        search = a_search(logs_dir, name, Resources(**({"max_concurrent": 1} | machines)), **changes)
    _await_answer(search.resources.address)
    try:
        result = run_search(search, no_data, train, time_budget)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print("whole" if result.is_whole else "time is up")
    return 0


def _await_answer(address: str | None) -> None:
    """Ask for a cluster more patiently than the search, which remembers that it has answered."""
    for _ in range(8):
        with suppress(InputError):
            refuse_unreachable(address)
            return


def main(logs_dir: Path, name: str, *options: str) -> int:
    try:
        return run(logs_dir, name, *options)
    except KeyboardInterrupt as end:
        print("interrupted", file=sys.stderr)
        return end.exit_code if isinstance(end, Terminated) else 130


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
