"""CPU time and memory of whole commands, alternating with an older commit of this repository.

    python -m benchmarks.against_older [--commit COMMIT] [--rounds N] [--places FOLDER]
        [--without-setup | --without-refusals]

Each command is measured as a process, from start to end. The older commit is checked out into a temporary
folder and runs in the same environment. Each checkout has its own working directory, in which it has built
the miniature, trained a version and searched. ``--places`` keeps these directories for the next comparison.
`benchmarks.miniature_build` compares that build.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Goal, Options, Row
from benchmarks.miniature_build import BEFORE, HERE, ROUNDS, checkout
from benchmarks.search_memory import DRIVER, WORKER, Memory, most_memory

REFUSALS: Mapping[str, list[str]] = {
    "wrong number": ["train", "--batch-size", "x"],
    "number out of range": ["train", "--epochs", "-1"],
    "contradicting settings": ["train", "--accumulate", "512", "--batch-size", "64"],
    "unknown option": ["train", "--learning-rate", "1"],
    "unknown preset": ["train", "--preset", "minature"],
    "missing settings": ["train", "--config", "none.yaml"],
    "bad YAML": ["train", "--config", "bad.yaml"],
    "unknown key": ["train", "--config", "unknown.yaml"],
    "missing corpus": ["train", "--preset", "miniature", "--corpus", "none.tsv"],
    "resume of no version": ["train", "--resume", "nowhere"],
    "wrong scheduler": ["tune", "--scheduler", "foo"],
    "wrong searcher": ["tune", "--searcher", "foo"],
    "name taken": ["tune", "--name", "taken"],
    "resume of no search": ["tune", "--resume", "none"],
    "warm start of no search": ["tune", "--warm-start", "none"],
    "missing space": ["tune", "--space", "none.yaml"],
    "reversed range": ["tune", "--space", "reversed.yaml"],
    "unknown setting in the space": ["tune", "--space", "unknown-space.yaml"],
    "test of no version": ["test", "--version-path", "nowhere"],
    "report of no search": ["report", "none"],
}
"""Commands that end with exit code 2."""

FILES = {
    "bad.yaml": "data: [",
    "unknown.yaml": "preset: miniature\ntraining: {leran_rate: 1}",
    "reversed.yaml": "space: {learn_rate: {uniform: [1, 0.1]}}",
    "unknown-space.yaml": "space: {leran_rate: {uniform: [0.1, 1]}}",
    "logs/tune/taken/search.yaml": "name: taken",
}

SETUP = (
    ["prepare"],
    ["train", "--epochs", "0.05"],
    ["tune", "--name", "made", "--num-samples", "1", "--epochs", "0.05"],
)
VERSION, SEARCH = "logs/miniature/version_0", "logs/tune/made/search.yaml"
COMMANDS: Mapping[str, tuple[list[str], float]] = {
    "status": (["status", "made"], 1 / 3),
    "prepare --dry-run": (["prepare", "--dry-run"], 1 / 3),
    "test of a prepared miniature": (["test", "--version-path", VERSION], 1 / 3),
}
"""Commands on the results of `SETUP`, and the goal for their ratio of CPU time."""

SEARCH_OF_ONE_REPORT = ["tune", "--num-samples", "1", "--epochs", "0.05", "--name"]
MOMENTS = {"at the first report": Goal(0.6, "<"), "until the end of the search": None}
"""Ends of the measurement of driver and worker, and the goal for their ratio of resident memory."""

FIRST_STEP = """
import os, runpy, sys, torch
def ending(kernel):
    def step(*arguments, **options):
        kernel(*arguments, **options)
        os._exit(0)
    return step
for name in ("_fused_adam_", "_fused_adamw_"):
    setattr(torch, name, ending(getattr(torch, name)))
sys.argv = ["themo", "train"]
runpy.run_module("themo", run_name="__main__")
"""
"""Ends the process after the first step of its optimizer."""

LIGHT_BEFORE = "unknown option"
"""A refusal that imported little at the older commit as well: its CPU time has no goal."""
MIB_A_REFUSAL = 120
IMPORT, SECONDS_AN_IMPORT = "import themo", 0.1

MEASURE = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""
"""Runs a command from a small process: Linux counts the memory of the process that forks as the command's."""


@dataclass(frozen=True)
class Use:
    """CPU seconds of a process and its children, and its peak memory in MiB."""

    seconds: float
    mib: float


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- nothing to choose
    """Rows of all commands."""
    return list(compared(BEFORE, ROUNDS))


def compared(
    commit: str,
    rounds: int,
    *,
    with_setup: bool = True,
    with_refusals: bool = True,
    places: Path | None = None,
) -> Iterator[Row]:
    """Run every command alternately from both checkouts, with the order reversed in every other round.

    Yields the rows of a command once all its rounds are done. All commands together take an hour or more.

    Args:
        commit: The older commit.
        rounds: Runs of each command.
        with_setup: Whether each checkout first builds, trains and searches; else only commands without data.
        with_refusals: Whether to measure commands that end with exit code 2.
        places: Folder that keeps the working directories, ``now`` and the commit's name; None: temporary
            directories.
    """
    with (
        checkout(commit) as before,
        _workplace(HERE, with_setup, places and places / "now") as ours,
        _workplace(before, with_setup, places and places / commit) as old,
    ):
        place_of = {HERE: ours, before: old}

        def turns() -> Iterator[tuple[int, Path]]:
            for number in range(-1, rounds):  # the first fills the disk's cache
                for tree in (HERE, before) if number % 2 == 0 else (before, HERE):
                    yield number, tree

        def measure(name: str, arguments: list[str], code: int, goal: float | None) -> list[Row]:
            used: dict[Path, list[Use]] = {HERE: [], before: []}
            for number, tree in turns():
                use = measured(arguments, tree, place_of[tree], code)
                if number >= 0:
                    used[tree].append(use)
            return _rows(name, used[HERE], used[before], commit, goal)

        for name, words in REFUSALS.items() if with_refusals else ():
            goal = None if name == LIGHT_BEFORE else 0.1
            yield from measure(f"refusal, {name}", ["-m", "themo", *words], 2, goal)
        yield from measure(IMPORT, ["-c", IMPORT], 0, None)
        if with_setup:
            for name, (words, goal) in COMMANDS.items():
                yield from measure(name, ["-m", "themo", *words], 0, goal)
            yield from measure("first training step", ["-c", FIRST_STEP], 0, 0.5)
            most: dict[Path, list[tuple[Memory, Memory]]] = {HERE: [], before: []}
            for number, tree in turns():
                if number >= 0:
                    name = f"memory-{time.time_ns()}"
                    command = [sys.executable, "-m", "themo", *SEARCH_OF_ONE_REPORT, name]
                    study = Path("logs", "tune", name, "study.json")
                    most[tree].append(most_memory(command, study, place_of[tree], _environment(tree)))
            for until, (moment, at_most) in enumerate(MOMENTS.items()):
                for role in (DRIVER, WORKER):
                    now, then = ([each[until][role] for each in most[tree]] for tree in (HERE, before))
                    yield _row(f"{role}, memory {moment}", now, then, "MiB", commit, at_most)


def measured(arguments: list[str], tree: Path, place: Path, code: int) -> Use:
    """Return CPU time and memory of a Python process of a checkout.

    Raises:
        RuntimeError: The process ends with another exit code.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", MEASURE, sys.executable, *arguments],
        cwd=place,
        env=_environment(tree),
        check=True,
        capture_output=True,
        text=True,
    )
    status, seconds, kib = json.loads(done.stdout.splitlines()[-1])
    if status != code:
        raise RuntimeError(f"{tree}: {' '.join(arguments)} ended with {status}, not {code}")
    return Use(seconds, kib / 1024)


def _rows(name: str, ours: list[Use], older: list[Use], commit: str, goal: float | None) -> list[Row]:
    rows = [
        _row(
            f"{name}, CPU time",
            [use.seconds for use in ours],
            [use.seconds for use in older],
            "s",
            commit,
            None if goal is None else Goal(goal, "<"),
        ),
        _row(f"{name}, memory", [use.mib for use in ours], [use.mib for use in older], "MiB", commit),
    ]
    if name.startswith("refusal"):
        mib = [use.mib for use in ours]
        rows.append(_most(f"{name}, peak memory", mib, "MiB", Goal(MIB_A_REFUSAL, "<")))
    if name == IMPORT:
        seconds = [use.seconds for use in ours]
        rows.append(_most(f"{name}, seconds", seconds, "s", Goal(SECONDS_AN_IMPORT, "<")))
    return rows


def _most(name: str, figures: list[float], unit: str, goal: Goal) -> Row:
    return Row(name, max(figures), unit, goal, (min(figures), max(figures)))


def _row(
    name: str, now: list[float], then: list[float], unit: str, commit: str, goal: Goal | None = None
) -> Row:
    ratios = [a / b for a, b in zip(now, then, strict=True)]
    medians = f"{statistics.median(now):.2f} {unit}, {statistics.median(then):.2f} {unit}"
    detail = f"ratio to {commit}, median of {len(ratios)} rounds; medians {medians}"
    return Row(name, statistics.median(ratios), "x", goal, (min(ratios), max(ratios)), detail)


@contextmanager
def _workplace(tree: Path, with_setup: bool, kept: Path | None) -> Iterator[Path]:
    """Yield a working directory of a checkout, with the files that its commands read."""
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="themo-bench-") as folder:
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        if with_setup:
            for words in SETUP if not (place / SEARCH).is_file() else ():
                subprocess.run(
                    [sys.executable, "-m", "themo", *words],
                    cwd=place,
                    env=_environment(tree),
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
        for name, text in FILES.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text, encoding="utf-8")
        yield place


def _environment(tree: Path) -> dict[str, str]:
    """The environment of a user: Python keeps compiled modules, unlike in some containers."""
    of_user = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return of_user | {"PYTHONPATH": str(tree)}  # before the installed package


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description="Whole commands against an older commit.")
    parser.add_argument("--commit", default=BEFORE, help=f"the older commit (default {BEFORE})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs of each command (default {ROUNDS})")
    parser.add_argument(
        "--without-setup", action="store_true", help="measure only commands that need no data"
    )
    parser.add_argument(
        "--without-refusals", action="store_true", help="measure only commands that do their work"
    )
    parser.add_argument(
        "--places", type=Path, help="folder that keeps the working directories (default: temporary folders)"
    )
    options = parser.parse_args()
    for row in compared(
        options.commit,
        options.rounds,
        with_setup=not options.without_setup,
        with_refusals=not options.without_refusals,
        places=options.places,
    ):
        least, greatest = row.spread or (float("nan"), float("nan"))
        print(
            f"{row.name}: {row.figure:.3f} {row.unit} ({least:.3f} to {greatest:.3f}); {row.detail}",
            flush=True,
        )


if __name__ == "__main__":
    main()
