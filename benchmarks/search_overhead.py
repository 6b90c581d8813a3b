"""What a search costs beside training: trials of known length, share of the slots' time spent in them.

    python -m benchmarks search_overhead

Trials sleep, so that slots are logical ones and the machine's cores do not matter.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Options, Row
from themo import config
from themo.config import Settings
from themo.dataset import TrainingData
from tune import results
from tune.cluster import Resources
from tune.search import new_search
from tune.session import run_search
from tune.space import from_tree

TRIALS, SLOTS = 12, 2
SECONDS, REPORTS = 5.0, 8
"""Length of a trial and its reports."""
PAIRS_A_REPORT = 10_000


@dataclass(frozen=True)
class SleepReport:
    """Enough of a report for a search."""

    metrics: dict[str, float]
    is_last: bool
    settings: Settings

    def save(self, folder: Path) -> None:
        """A version of a few files, of about the miniature's size."""
        folder.mkdir()
        (folder / "config.yaml").write_text(self.settings.to_yaml())
        (folder / "state.safetensors").write_bytes(bytes(2_000_000))


def sleep(
    settings: Settings,
    data: TrainingData,  # noqa: ARG001 -- it has none
    *,
    report: Callable[[SleepReport], None],
    resume: Path | None = None,  # noqa: ARG001 -- it is never cut
) -> None:
    """A trial of known length whose result depends on its learning rate alone."""
    for n in range(1, REPORTS + 1):
        time.sleep(SECONDS / REPORTS)
        value = n * settings.training.learn_rate
        metrics = {"pairs_seen": n * PAIRS_A_REPORT, settings.objective: value, "train/loss": 1 - value}
        report(SleepReport(metrics, n == REPORTS, settings))


def run(options: Options) -> list[Row]:  # noqa: ARG001 -- its trials compute nothing
    """Rows for a search without early stopping: the slots' share of training, and the gap between trials."""
    tree = {
        "space": {
            "learn_rate": {"log_uniform": [1e-5, 1e-2]},
            "batch_size": {"integer": [32, 256], "step": 16},
        },
        # one rung, at the end: each trial has its full length
        "search": {"num_samples": TRIALS, "grace_pairs": PAIRS_A_REPORT * REPORTS},
    }
    with tempfile.TemporaryDirectory() as folder, shut_down_after() as ray:
        settings = config.load().override({"logs_dir": folder, "threads": 1})
        ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
        search = new_search("overhead", from_tree(tree, settings, source="benchmark"), settings, Resources())
        start = time.monotonic()
        result = run_search(search, lambda _: None, sleep)  # type: ignore[arg-type, return-value]
        whole = time.monotonic() - start
        spans = results.read_spans(result.folder)
    detail = (
        f"{TRIALS} trials of {SECONDS:g} s on {SLOTS} slots: first start to last end {result.seconds:.1f} s, "
        f"whole search {whole:.1f} s"
    )
    return [
        Row("search: slots busy with short trials", results.slots_busy(spans, SLOTS), "", None, None, detail),
        Row("search: a slot empty between two trials", gap(spans, SLOTS), "s", None, None, detail),
    ]


@contextmanager
def shut_down_after() -> Iterator[Any]:
    """Ray, and no cluster left behind."""
    import ray

    try:
        yield ray
    finally:
        ray.shutdown()


def gap(spans: list[tuple[float, float, float]], slots: int) -> float:
    """Mean seconds that a slot stands empty between two trials, ends of the search left out."""
    free: list[float] = []
    gaps = []
    for start, end, _ in sorted(spans):
        if len(free) >= slots:
            earlier = [moment for moment in free if moment <= start]
            if earlier:
                taken = max(earlier)
                free.remove(taken)
                gaps.append(start - taken)
        free.append(end)
    return sum(gaps) / len(gaps) if gaps else 0.0
