"""Run benchmarks and print their table; exit code 1 if a goal is missed.

python -m benchmarks                        all CPU benchmarks
python -m benchmarks training_rate memory   selected ones
python -m benchmarks --gpu                  all GPU benchmarks
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console

from benchmarks.measure import Options, Row, table
from tune.space.search_settings import SchedulerName, SearcherName

ON_CPU = (
    "startup",
    "against_older",
    "training_rate",
    "rate_against",
    "sentence_transformers_rate",
    "teacher_rate",
    "memory",
    "full_size",
    "miniature_build",
    "miniature_teacher",
    "miniature_student",
    "miniature_results",
    "student_sizes",
    "objectives",
    "early_stopping",
    "ending",
    "searches",
    "search_efficiency",
    "time_to_target",
    "search_overhead",
    "decision_time",
    "chaos",
    "image_search",
    "text_runtimes",
    "nothing_like_that",
    "near_duplicates",
    "approximate_index",
)
"""Modules with ``run(options: Options) -> list[Row]``."""
ON_GPU = ("training_rate", "teacher_rate")
"""Modules with ``run_on_gpu(options: Options) -> list[Row]``."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named on the command line; return the exit code."""
    options = _parse(arguments)
    if options.gpu and not torch.cuda.is_available():
        print("Error: --gpu needs a CUDA device, but torch finds none", file=sys.stderr)
        return 2
    known = ON_GPU if options.gpu else ON_CPU
    unknown = [name for name in options.names if name not in known]
    if unknown:
        print(
            f"Error: unknown benchmark: {', '.join(unknown)}; choose from {', '.join(known)}", file=sys.stderr
        )
        return 2
    named = {"searcher": options.searcher, "scheduler": options.scheduler}
    search = {name: value for name, value in named.items() if value is not None}
    shared = Options(
        options.tatoeba,
        options.beto,
        options.threads,
        options.seed,
        search,
        options.search_seeds,
        options.rounds,
        options.pictures,
        options.indexes,
        options.worlds,
        options.publish,
    )
    torch.set_num_threads(shared.threads)
    rows: list[Row] = []
    for name in options.names or known:
        print(f"{name} ...", file=sys.stderr)
        module = importlib.import_module(f"benchmarks.{name}")
        for row in (module.run_on_gpu if options.gpu else module.run)(shared):
            rows.append(row)
            if options.json:
                print(row.to_json(), flush=True)
    if not options.json:
        Console(width=None if sys.stdout.isatty() else 180).print(table(rows))
    return 1 if any(row.is_met is False for row in rows) else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure Themo's speed, memory and results."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or some of {', '.join(ON_CPU)}")
    parser.add_argument("--gpu", action="store_true", help=f"on a CUDA device: {', '.join(ON_GPU)}")
    parser.add_argument("--json", action="store_true", help="print one JSON line per row instead of a table")
    parser.add_argument(
        "--tatoeba",
        type=Path,
        default=_folder("THEMO_BENCH_TATOEBA"),
        metavar="FOLDER",
        help="spa.txt and targets.npy (default: $THEMO_BENCH_TATOEBA)",
    )
    parser.add_argument(
        "--beto",
        type=Path,
        default=_folder("THEMO_BENCH_BETO"),
        metavar="FOLDER",
        help="config.json and vocab.txt of BETO (default: $THEMO_BENCH_BETO)",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the measured code (1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and orders (0)")
    parser.add_argument("--searcher", choices=get_args(SearcherName), help="of search_efficiency")
    without_end = [
        name for name in get_args(SchedulerName) if name != "pbt"
    ]  # its rounds wait for all trials
    parser.add_argument("--scheduler", choices=without_end, help="of search_efficiency")
    parser.add_argument(
        "--search-seeds",
        type=int,
        nargs="*",
        default=range(5),
        help="seeds of complete searches (0 to 4); none: no new search",
    )
    parser.add_argument("--rounds", type=int, default=2, help="of chaos (2)")
    parser.add_argument(
        "--pictures",
        type=int,
        nargs="+",
        default=(100_000, 300_000),
        metavar="N",
        help="numbers of pictures of approximate_index (100000 300000)",
    )
    parser.add_argument(
        "--indexes", nargs="+", default=(), metavar="PART", help="names of indexes of approximate_index (all)"
    )
    parser.add_argument(
        "--worlds",
        nargs="+",
        choices=Options.worlds,
        default=Options.worlds,
        help="tables of recorded curves of searches (all)",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="draw the plots of searches and time_to_target into docs/, which replaces those of its pages "
        "(default: into logs/bench/)",
    )
    return parser.parse_args(arguments)


def _folder(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


if __name__ == "__main__":
    sys.exit(main())
