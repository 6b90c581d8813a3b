"""What a search costs beside training: trials of known length, share of the slots' time spent in them.

    python benchmarks/search_overhead.py [--seconds 5] [--trials 12] [--slots 2] [--reports 8]

Trials sleep, so that slots are logical ones and the machine's cores do not matter.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from themo.config import Settings, load
from themo.dataset import TrainingData
from tune import results
from tune.cluster import Resources
from tune.search import new_search, run_search
from tune.space import from_tree

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
    seconds: float,
    n_reports: int,
) -> None:
    """A trial of known length whose result depends on its learning rate alone."""
    for n in range(1, n_reports + 1):
        time.sleep(seconds / n_reports)
        value = n * settings.training.learn_rate
        metrics = {"pairs_seen": n * PAIRS_A_REPORT, "val/match@01": value, "train/loss": 1 - value}
        report(SleepReport(metrics, n == n_reports, settings))


def main() -> None:
    """Run searches without early stopping and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a trial")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--reports", type=int, default=8)
    options = parser.parse_args()
    tree = {
        "space": {
            "learn_rate": {"log_uniform": [1e-5, 1e-2]},
            "batch_size": {"integer": [32, 256], "step": 16},
        },
        # one rung per trial, which all pass: each trial has its full length
        "search": {"num_samples": options.trials, "grace_pairs": PAIRS_A_REPORT * options.reports},
    }
    with tempfile.TemporaryDirectory() as folder:
        settings = load().override({"logs_dir": folder, "threads": 1})
        import ray

        ray.init(num_cpus=options.slots, include_dashboard=False, log_to_driver=False)
        search = new_search("overhead", from_tree(tree, settings, source="benchmark"), settings, Resources())
        start = time.monotonic()
        train = partial(sleep, seconds=options.seconds, n_reports=options.reports)
        result = run_search(search, lambda _: None, train)  # type: ignore[arg-type, return-value]
        whole = time.monotonic() - start
        spans = results.read_spans(result.folder)
        slept = options.trials * options.seconds / options.slots
        print(
            f"{options.trials} trials of {options.seconds:g} s on {options.slots} slots: "
            f"busy {results.slots_busy(spans, options.slots):.1%}, "
            f"between trials {gap(spans, options.slots):.2f} s, "
            f"window {result.seconds:.1f} s, whole search {whole:.1f} s, of which training {slept:.1f} s"
        )
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


if __name__ == "__main__":
    main()
