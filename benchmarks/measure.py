"""Measuring honestly: variants alternate in one process, and what is compared is their ratio.

Two figures of different runs say little on a machine that others use too. Here a round runs one variant and
then the other, the next round in the opposite order; each round gives one ratio, and a row shows their median
with the smallest and the greatest.
"""

from __future__ import annotations

import json
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
    """What the command line says of all benchmarks.

    Attributes:
        tatoeba: Folder with ``spa.txt`` (English TAB Spanish) and ``targets.npy`` (N, D); None: not there.
        beto: Folder of a BERT's ``config.json`` and ``vocab.txt``, read with `tatoeba`.
        threads: CPU threads of the measured work.
        seed: Of initial weights and of every order.
        search: Settings of the search that take the place of the shipped ones, by name.
        search_seeds: Seeds of whole searches.
        rounds: Searches under faults.
    """

    tatoeba: Path | None = None
    beto: Path | None = None
    threads: int = 1
    seed: int = 0
    search: Mapping[str, str] = field(default_factory=dict)
    search_seeds: Sequence[int] = range(5)
    rounds: int = 2

    def why_no_real_data(self) -> str | None:
        """Why a benchmark on Tatoeba cannot run; None where it can."""
        if self.tatoeba is None or self.beto is None:
            return "skipped: give --tatoeba and --beto, or set THEMO_BENCH_TATOEBA and THEMO_BENCH_BETO"
        wanted = [self.tatoeba / "spa.txt", self.tatoeba / "targets.npy", self.beto / "vocab.txt"]
        missing = [str(path) for path in wanted if not path.is_file()]
        return f"skipped: no such file: {', '.join(missing)}" if missing else None


@dataclass(frozen=True)
class Goal:
    """A bound that a figure must reach: at least, or below."""

    bound: float
    sense: Literal[">=", "<"] = ">="

    def is_met(self, figure: float) -> bool:
        """Whether the figure reaches the bound; a NaN never does."""
        return figure >= self.bound if self.sense == ">=" else figure < self.bound


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        figure: The number, in `unit`; None where it could not be measured, `detail` says why.
        unit: ``"x"`` for a ratio.
        goal: What it should reach; None: it is there to be known.
        spread: Smallest and greatest figure of the rounds.
        detail: Sizes, absolute numbers, what is included.
        seeds: Seeds of what was trained or drawn.
        machine: Processor or GPU, cores, threads.
        commit: Of the checkout, ``+`` behind it if files differ.
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
        """Whether the goal is reached; None without a goal or without a figure."""
        if self.goal is None or self.figure is None:
            return None
        return self.goal.is_met(self.figure)

    def to_json(self) -> str:
        """The row as one line of JSON."""
        return json.dumps(asdict(self) | {"is_met": self.is_met}, ensure_ascii=False)


@dataclass(frozen=True)
class Comparison:
    """Rates of two variants over rounds, in units a second.

    Attributes:
        ours, theirs: One rate a round.
    """

    ours: list[float]
    theirs: list[float]

    @cached_property
    def ratios(self) -> list[float]:
        """Ours over theirs, round by round."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]

    def row(self, name: str, goal: float | None, unit: str, detail: str = "", seed: int = 0) -> Row:
        """The median ratio as a row; `detail` gets both median rates in front."""
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
"""Does the work of a round (counted from 0, -1 the warm-up) and returns how many units it did."""


def compare(name: str, ours: Work, theirs: Work, rounds: int) -> Comparison:
    """Warm both up, then run them alternately."""
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    with track(f"Measuring {name}", rounds + 1, "rounds") as advance:
        for number in range(-1, rounds):
            pair = [("ours", ours), ("theirs", theirs)]
            for label, work in pair if number % 2 == 0 else pair[::-1]:
                rate = rate_of(work, number)
                if number >= 0:
                    rates[label].append(rate)
            advance(1)
    return Comparison(rates["ours"], rates["theirs"])


def rate_of(work: Work, number: int) -> float:
    """Units a second of one round; on a GPU after all its kernels have ended."""
    start = time.perf_counter()
    units = work(number)
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return units / (time.perf_counter() - start)


def describe_machine() -> str:
    """Processor and, where one is used, GPU, with cores and threads."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    cores = f"{len(names) or 1} cores, {torch.get_num_threads()} threads"
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_initialized() else ""
    return f"{processor}, {cores}{gpu}"


def table(rows: Sequence[Row]) -> Table:
    """The rows for people; machine and commit, which they share, stand in the title."""
    shown = Table(title=f"{rows[0].machine}, commit {rows[0].commit or 'unknown'}" if rows else None)
    for heading in ("what", "figure", "least to greatest", "goal", "met", "detail"):
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
