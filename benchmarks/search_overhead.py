"""Overhead of a search beside training, measured with trials of known length and with many empty trials.

    python -m benchmarks search_overhead

Trials sleep, so slots are logical ones and the machine's cores do not matter. Workers start once per search,
import PyTorch and are reused; their start is measured separately from the gaps between trials.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.formula_report import FormulaReport
from benchmarks.measure import Goal, Options, Row
from themo.config import settings as config
from themo.config.settings import Settings
from themo.data.dataset import EncodedPairs, TrainingData
from themo.files.run_folders import STUDY_FILE
from tune.cluster.connection import leave
from tune.cluster.resources import Resources
from tune.driver.session import run_search
from tune.results.trial_table import TRIALS_FILE
from tune.space.search_space import from_tree
from tune.study.growth import grow
from tune.study.search import Search, new_search
from tune.study.study import Study
from tune.study.work_time import session_seconds

SLOTS = (2, 4, 8)
WAVES = 3
"""Number of trials in each slot."""
GOALS = {5.0: 0.85, 60.0: 0.98}
"""Goals of the training share of a slot's time, by seconds per trial."""
NOTHING = EncodedPairs(Path(), Path())
REPORTS = 8
PAIRS_A_REPORT = 10_000
NO_DATA = TrainingData(NOTHING, NOTHING, backbone="none", parts=((REPORTS * PAIRS_A_REPORT, 1.0),))
VERSION_BYTES = 2_000_000
"""Approximate size of a student of the miniature, in bytes."""
MANY, FIRST = 1_000, 100
"""Number of trials of a long search, and of its first and last trials that are compared."""


def sleep(
    settings: Settings,
    data: TrainingData,  # noqa: ARG001 -- it has none
    *,
    report: Callable[[FormulaReport], None],
    resume: Path | None = None,  # noqa: ARG001 -- it is never cut
    seconds: float,
    reports: int = REPORTS,
) -> None:
    """A trial of known length; its result depends only on its learning rate."""
    for n in range(1, reports + 1):
        time.sleep(seconds / reports)
        value = n * settings.training.learn_rate
        metrics = {"pairs_seen": n * PAIRS_A_REPORT, settings.objective: value, "train/loss": 1 - value}
        report(FormulaReport(metrics, n == reports, settings, VERSION_BYTES))


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its trials compute nothing
    """Rows with the training share by trial length and slots, and the driver's cost of many trials."""
    rows = [busy(seconds, slots) for seconds in GOALS for slots in SLOTS]
    return [*rows, *many()]


def busy(seconds: float, slots: int) -> Row:
    """A search without early stopping.

    Sleeping counts as training; waiting for the driver to accept a report, and writing a version, do not.
    """
    with tempfile.TemporaryDirectory() as folder, cluster_of(slots):
        search = a_search(Path(folder), slots * WAVES, REPORTS)
        start = time.monotonic()
        result = run_search(search, lambda _: NO_DATA, partial(sleep, seconds=seconds))
        whole = time.monotonic() - start
        study = Study.read(result.folder / STUDY_FILE)
    spans = [(trial.stints[0].started, trial.stints[-1].ended) for trial in study]
    between = gap(spans, slots)
    length = statistics.fmean(end - start for start, end in spans)
    first = sorted(start for start, _ in spans)[slots - 1] - min(start for start, _ in spans)
    detail = (
        f"{slots * WAVES} trials; idle for {between:.2f} s between two, {length - seconds:.2f} s of a trial "
        f"for reports and its version; all slots busy {first:.1f} s after the first, share including that "
        f"{seconds * len(study) / (slots * session_seconds(study)):.3f}; whole search {whole:.1f} s"
    )
    return Row(
        f"search: share of training in a slot's time, trials of {seconds:g} s, {slots} slots",
        seconds / (length + between),
        "",
        Goal(GOALS[seconds]),
        detail=detail,
    )


def many() -> list[Row]:
    """A long search with early stopping: the driver's cost of its first and last trials, and of a resume."""
    with tempfile.TemporaryDirectory() as folder, cluster_of(2):
        search = a_search(Path(folder), MANY, 1)
        trial = partial(sleep, seconds=0.0)
        with DriverClock(search.folder / TRIALS_FILE) as clock:
            result = run_search(search, lambda _: NO_DATA, trial)
        first, first_clock = clock.cost(1, FIRST)
        last, last_clock = clock.cost(MANY - FIRST, MANY)
        start = time.process_time()
        run_search(grow(search, MANY + 1), lambda _: NO_DATA, trial)
        resumed = time.process_time() - start
    stopped = result.counts["PRUNED"]
    return [
        Row(
            f"search of {MANY:,} trials: the driver's CPU time per trial, last {FIRST}",
            1000 * last,
            "ms",
            detail=f"first {FIRST}: {1000 * first:.0f} ms; wall-clock time of empty trials in 2 "
            f"slots: last {1000 * last_clock:.0f} ms, first {1000 * first_clock:.0f} ms; {stopped} stopped "
            "early",
        ),
        Row(
            f"search of {MANY:,} trials: driver's cost of the last against the first {FIRST}",
            last / first,
            "x",
            Goal(1.5, "<"),
        ),
        Row(
            f"search of {MANY:,} trials resumed for one more: the driver's CPU time",
            resumed,
            "s",
        ),
    ]


class DriverClock:
    """Reads this process's CPU time and the clock as rows arrive in a search's table of trials.

    Use as a context manager around the search.

    Args:
        table: ``trials.csv``.
    """

    def __init__(self, table: Path) -> None:
        self._table = table
        self._readings: list[tuple[int, float, float]] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> DriverClock:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def cost(self, after: int, upto: int) -> tuple[float, float]:
        """CPU and wall-clock seconds per trial between two numbers of trials, or the nearest recorded."""
        begin = next(reading for reading in self._readings if reading[0] >= after)
        end = next(reading for reading in self._readings if reading[0] >= upto)
        trials, processor, clock = (late - early for early, late in zip(begin, end, strict=True))
        return processor / trials, clock / trials

    def _watch(self) -> None:
        while not self._ending.wait(0.2):
            self._read()
        self._read()

    def _read(self) -> None:
        if self._table.exists():
            rows = self._table.read_text(encoding="utf-8").count("\n") - 1
            self._readings.append((rows, time.process_time(), time.monotonic()))


def a_search(folder: Path, num_samples: int, reports: int) -> Search:
    """A space of two settings with one rung, at the end, so that each trial has its full length."""
    tree = {
        "space": {
            "learn_rate": {"log_uniform": [1e-5, 1e-2]},
            "batch_size": {"integer": [32, 256], "step": 16},
        },
        "search": {"num_samples": num_samples, "grace_pairs": PAIRS_A_REPORT * reports, "confirm": "off"},
    }
    settings = config.load().override({"logs_dir": str(folder), "threads": 1})
    space = from_tree(tree, settings, source="benchmark")
    return new_search("overhead", space, settings, Resources(gpus_per_trial=0.0))


@contextmanager
def cluster_of(slots: int) -> Iterator[Any]:
    """Starts a cluster of logical slots and stops it at the end."""
    import ray

    try:
        ray.init(address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False)
        yield ray
    finally:
        leave()


def gap(spans: list[tuple[float, float]], slots: int) -> float:
    """Mean idle seconds of a slot between two trials, without the ends of the search."""
    free: list[float] = []
    gaps = []
    for start, end in sorted(spans):
        if len(free) >= slots:
            earlier = [moment for moment in free if moment <= start]
            if earlier:
                taken = max(earlier)
                free.remove(taken)
                gaps.append(start - taken)
        free.append(end)
    return sum(gaps) / len(gaps) if gaps else 0.0
