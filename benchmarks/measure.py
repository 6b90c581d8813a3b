"""Measures the ratio of two variants that alternate in one process.

On a shared machine, times of different runs are not comparable. Here a round runs one variant and then the
other, the next round in the opposite order. Each round gives one ratio; a row shows their median with minimum
and maximum.
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from rich.table import Table

from themo.checkpoints.environment import commit
from themo.process.progress import track


@dataclass(frozen=True)
class Options:
    """Options of the benchmarks' command line.

    Attributes:
        tatoeba: Folder with ``spa.txt`` (English TAB Spanish) and ``targets.npy`` (N, D); None: not given.
        beto: Folder of a BERT's ``config.json`` and ``vocab.txt``, read with `tatoeba`.
        threads: CPU threads of the measured code.
        seed: Seed of initial weights and of all orders.
        search: Changed settings of the search, by name.
        search_seeds: Seeds of complete searches.
        rounds: Number of searches under faults.
        pictures: Numbers of pictures of approximate indexes.
        indexes: Parts of the names of approximate indexes to measure; empty: all.
        worlds: Tables of recorded curves that searches are compared on.
        publish: Draw plots into ``docs`` in place of ``logs/bench``.
    """

    tatoeba: Path | None = None
    beto: Path | None = None
    threads: int = 1
    seed: int = 0
    search: Mapping[str, str] = field(default_factory=dict)
    search_seeds: Sequence[int] = range(5)
    rounds: int = 2
    pictures: Sequence[int] = (100_000, 300_000)
    indexes: Sequence[str] = ()
    worlds: Sequence[str] = ("miniature", "tatoeba")
    publish: bool = False

    def why_no_real_data(self) -> str | None:
        """The reason why a benchmark on Tatoeba cannot run; None if it can."""
        if self.tatoeba is None or self.beto is None:
            return "skipped: give --tatoeba and --beto, or set THEMO_BENCH_TATOEBA and THEMO_BENCH_BETO"
        wanted = [self.tatoeba / "spa.txt", self.tatoeba / "targets.npy", self.beto / "vocab.txt"]
        missing = [str(path) for path in wanted if not path.is_file()]
        return f"skipped: no such file: {', '.join(missing)}" if missing else None


@dataclass(frozen=True)
class Goal:
    """A bound of a figure: "at least" or "below"."""

    bound: float
    sense: Literal[">=", "<"] = ">="

    def is_met(self, figure: float) -> bool:
        """Whether the figure reaches the bound; a NaN never does."""
        return figure >= self.bound if self.sense == ">=" else figure < self.bound


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: Name of the measurement.
        figure: The number, in `unit`; None if it could not be measured, with the reason in `detail`.
        unit: ``"x"`` for a ratio.
        goal: Goal of the figure; None: no goal.
        spread: Minimum and maximum over the rounds.
        detail: Sizes, absolute numbers, scope of the measurement.
        seeds: Seeds of training or sampling.
        machine: Processor or GPU, cores, threads.
        commit: Commit of the checkout, followed by ``+`` if files differ. `detail` names other commits that
            computed cached results.
    """

    name: str
    figure: float | None
    unit: str
    goal: Goal | None = None
    spread: tuple[float, float] | None = None
    detail: str = ""
    seeds: Sequence[int] = ()
    machine: str = field(default_factory=lambda: describe_machine())
    commit: str = field(default_factory=commit)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without a goal or a figure."""
        if self.goal is None or self.figure is None:
            return None
        return self.goal.is_met(self.figure)

    def to_json(self) -> str:
        """The row as one line of JSON; null for a number that is not finite."""
        changed = {
            "figure": _finite(self.figure),
            "spread": self.spread and [_finite(end) for end in self.spread],
            "is_met": self.is_met,
        }
        return json.dumps(asdict(self) | changed, ensure_ascii=False, allow_nan=False)


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


@dataclass(frozen=True)
class Comparison:
    """Rates of two variants over rounds, in units per second.

    Attributes:
        ours, theirs: One rate per round.
    """

    ours: list[float]
    theirs: list[float]

    @cached_property
    def ratios(self) -> list[float]:
        """The ratio of ours to theirs, round by round."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def row(self, name: str, goal: float | None, unit: str, detail: str = "", seed: int = 0) -> Row:
        """The median ratio as a row; its detail begins with both median rates."""
        rates = f"{statistics.median(self.ours):,.0f} against {statistics.median(self.theirs):,.0f} {unit}/s"
        return Row(
            name,
            statistics.median(self.ratios),
            "x",
            Goal(goal) if goal is not None else None,
            (min(self.ratios), max(self.ratios)),
            "; ".join(part for part in (rates, detail) if part),
            (seed,),
        )


Work = Callable[[int], float]
"""Does the work of a round (counted from 0; -1 is the warm-up) and returns the number of units done."""


def compare(
    name: str, ours: Work, theirs: Work, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> Comparison:
    """Warm up both variants, then measure them alternately.

    Args:
        name: Name of the measurement, for the progress.
        ours: One variant.
        theirs: The other.
        rounds: Number of rounds.
        clock: Function that returns seconds; `time.process_time` for work on one thread of a busy machine.
    """
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    with track(f"Measuring {name}", rounds + 1, "rounds") as advance:
        for number in range(-1, rounds):
            pair = [("ours", ours), ("theirs", theirs)]
            for label, work in pair if number % 2 == 0 else pair[::-1]:
                rate = rate_of(work, number, clock)
                if number >= 0:
                    rates[label].append(rate)
            advance(1)
    return Comparison(rates["ours"], rates["theirs"])


def rate_of(work: Work, number: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Units per second of one round; on a GPU, after a synchronization."""
    start = clock()
    units = work(number)
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return units / (clock() - start)


def describe_machine() -> str:
    """Processor with cores and threads, and GPU if used."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    cores = f"{len(names) or 1} cores, {torch.get_num_threads()} threads"
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_initialized() else ""
    return f"{processor}, {cores}{gpu}"


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table, with the common machine and commit in the title."""
    shown = Table(title=f"{rows[0].machine}, commit {rows[0].commit or 'unknown'}" if rows else None)
    for heading in ("what", "figure", "min to max", "goal", "met", "detail"):
        shown.add_column(heading, justify="right" if heading in ("figure", "goal") else "left")
    for row in rows:
        met = {True: "yes", False: "NO", None: ""}[row.is_met]
        shown.add_row(
            row.name,
            "" if row.figure is None else f"{row.figure:.3g} {row.unit}",
            "" if row.spread is None else f"{row.spread[0]:.3g} to {row.spread[1]:.3g}",
            "" if row.goal is None else f"{row.goal.sense} {row.goal.bound:g}",
            met,
            row.detail,
        )
    return shown
