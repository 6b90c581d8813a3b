"""Time to build the miniature, compared with an older commit, alternating on the same machine.

    python -m benchmarks.miniature_build [--commit COMMIT] [--rounds N]

Each build is a process of its own, from its start to the end of the build, imports included. The older commit
is checked out beside this one, in a temporary folder, and runs in the same environment.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Goal, Options, Row

HERE = Path(__file__).parent.parent
BEFORE = "aea3685"
"""The commit whose build took one thread and open_clip's own towers."""
ROUNDS = 5
GOAL = Goal(0.4, "<")

BUILD = """
import sys
from pathlib import Path
from themo.miniature.building import build
from themo.config.miniature import MiniatureRecipe
build(MiniatureRecipe(seed=int(sys.argv[2])), Path(sys.argv[1]))
"""


def run(options: Options) -> list[Row]:
    """Rows with wall-clock and CPU time of a build, as ratios to the older commit's."""
    return compared(BEFORE, ROUNDS, options.seed)


def compared(commit: str, rounds: int, seed: int) -> list[Row]:
    """Build from both checkouts alternately, with the order reversed in every other round."""
    wall: dict[Path, list[float]] = {}
    processor: dict[Path, list[float]] = {}
    with checkout(commit) as before:
        for number in range(rounds):
            for tree in (HERE, before) if number % 2 == 0 else (before, HERE):
                seconds = _build_seconds(tree, seed)
                for times, value in zip((wall, processor), seconds, strict=True):
                    times.setdefault(tree, []).append(value)
            print(
                f"round {number + 1}: {wall[HERE][-1]:.1f} s, {commit} {wall[before][-1]:.1f} s",
                file=sys.stderr,
            )
    rows = []
    for name, times, goal in (("wall time", wall, GOAL), ("CPU time", processor, None)):
        ratios = [now / then for now, then in zip(times[HERE], times[before], strict=True)]
        medians = f"{statistics.median(times[HERE]):.1f} s, {statistics.median(times[before]):.1f} s"
        rows.append(
            Row(
                f"building the miniature, {name}",
                statistics.median(ratios),
                "x",
                goal,
                (min(ratios), max(ratios)),
                f"ratio to {commit}, median of {rounds} rounds; medians {medians}",
                (seed,),
            )
        )
    return rows


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Yield a folder with a commit of this repository."""
    with tempfile.TemporaryDirectory(prefix="themo-bench-") as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def _build_seconds(tree: Path, seed: int) -> tuple[float, float]:
    """Return wall-clock time, and CPU time including child processes."""
    with tempfile.TemporaryDirectory(prefix="themo-bench-") as world:
        used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", BUILD, world, str(seed)], cwd=tree, check=True, stderr=subprocess.DEVNULL
        )
        wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description="Time to build the miniature against an older commit.")
    parser.add_argument("--commit", default=BEFORE, help=f"the older commit (default {BEFORE})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"builds of each (default {ROUNDS})")
    parser.add_argument("--seed", type=int, default=0, help="seed of the recipe (default 0)")
    options = parser.parse_args()
    for row in compared(options.commit, options.rounds, options.seed):
        least, greatest = row.spread or (float("nan"), float("nan"))
        print(f"{row.name}: {row.figure:.3f} x ({least:.3f} to {greatest:.3f}); {row.detail}")


if __name__ == "__main__":
    main()
