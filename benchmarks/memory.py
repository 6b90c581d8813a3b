"""Memory beyond the imports to prepare a million sentence pairs, and to train on them.

Each step runs in a process of its own, which records its memory after the imports and its peak afterwards.
There are two figures: all resident memory, including pages of memory-mapped files, which the system can
reclaim at any moment, and the anonymous part, which the system cannot reclaim.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import synthetic
from benchmarks.measure import Goal, Options, Row

N_PAIRS = 1_000_000
DIMENSION = 512
MANY_PAIRS, FEW_DIMENSIONS = 10_000_000, 16
"""Pairs to prepare only; the memory does not depend on the vectors' length."""
STEPS = 200
BATCH_SIZE = 256
GOAL_GB = 1.5
SECONDS_BETWEEN_SAMPLES = 0.02


@dataclass(frozen=True)
class Memory:
    """Memory of a process.

    Attributes:
        resident: Bytes in RAM.
        anonymous: Resident bytes that are not backed by a file.
    """

    resident: int
    anonymous: int

    @classmethod
    def now(cls) -> Memory:
        """Memory of this process, from Linux."""
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        kilobytes = {
            line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "Rss"))
        }
        return cls(int(kilobytes["VmRSS"]) * 1024, int(kilobytes["RssAnon"]) * 1024)


class Peak:
    """Context that records peak memory, sampled by a thread fifty times a second."""

    def __enter__(self) -> Peak:
        self.highest = Memory.now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SECONDS_BETWEEN_SAMPLES):
            now = Memory.now()
            self.highest = Memory(
                max(self.highest.resident, now.resident), max(self.highest.anonymous, now.anonymous)
            )


def run(options: Options) -> list[Row]:
    """Rows with the peak memory of preparation and of training beyond the imports, on synthetic pairs."""
    if not Path("/proc/self/status").is_file():
        return [Row("memory, one million pairs", None, "GB", detail="skipped: measured on Linux only")]
    return [
        *_rows(N_PAIRS, DIMENSION, (("prepare", None), ("train", Goal(GOAL_GB, "<"))), options),
        *_rows(MANY_PAIRS, FEW_DIMENSIONS, (("prepare", None),), options),
    ]


def _rows(
    n_pairs: int, dimension: int, stages: Sequence[tuple[str, Goal | None]], options: Options
) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthetic.write_backbone(folder, hidden_size=128, layers=2)
        synthetic.write_corpus(folder / "pairs.tsv", n_pairs, options.seed)
        synthetic.write_targets(folder / "targets.npy", n_pairs, dimension, options.seed)
        rows = []
        for stage, goal in stages:
            base, highest = _measure(stage, folder, options)
            total, anonymous = (
                (getattr(highest, kind) - getattr(base, kind)) / 1e9 for kind in ("resident", "anonymous")
            )
            detail = (
                f"anonymous {anonymous:.2f} GB, the rest pages of mapped files; "
                f"imports {base.resident / 1e9:.2f} GB"
            )
            if stage == "train":
                detail += f"; {STEPS} steps of {BATCH_SIZE}, validation and saving included"
            what = f"memory to {stage}, {n_pairs:,} pairs, beyond imports"
            rows.append(Row(what, total, "GB", goal, detail=detail, seeds=(options.seed,)))
        return rows


def _measure(stage: str, folder: Path, options: Options) -> tuple[Memory, Memory]:
    """Memory of a process after its imports and at its peak."""
    command = [sys.executable, "-m", "benchmarks.memory", stage, str(folder)]
    command += [str(options.threads), str(options.seed)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    base, highest = (Memory(**values) for values in json.loads(out.splitlines()[-1]))
    return base, highest


def _child(stage: str, folder: Path, threads: int, seed: int) -> None:
    from themo.data.preparation import prepare_data
    from themo.training.loop import Report, train

    settings = synthetic.settings_of(
        folder,
        batch_size=BATCH_SIZE,
        epochs=STEPS * BATCH_SIZE / N_PAIRS,
        report_pairs=STEPS * BATCH_SIZE // 2,
        threads=threads,
        seed=seed,
        device="cpu",
    )

    def report(last: Report) -> None:
        last.save(folder / "version_0")

    base = Memory.now()
    with Peak() as peak:
        data = prepare_data(settings)
        if stage == "train":
            train(settings, data, report=report)
    print(json.dumps([vars(base), vars(peak.highest)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One process of the benchmark; prints its memory as JSON.")
    parser.add_argument("stage", choices=("prepare", "train"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("threads", type=int)
    parser.add_argument("seed", type=int)
    given = parser.parse_args()
    _child(given.stage, given.folder, given.threads, given.seed)
