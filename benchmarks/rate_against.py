"""Training and encoding rate against an older commit of this repository, alternating on the same machine.

    python -m benchmarks.rate_against [--commit COMMIT] [--rounds N] [--tatoeba FOLDER --beto FOLDER]

The older commit is checked out into a temporary folder and runs in the same environment. Each tree has one
process, which waits for a request to run a round, so that rounds alternate without a new start. A rate counts
CPU time: for one thread this equals the wall-clock time of an idle machine, and other work on the machine
changes it less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Comparison, Goal, Options, Row
from benchmarks.miniature_build import BEFORE, HERE, checkout

ROUNDS = 5
TRAINING_GOAL, ENCODING_GOAL = 1.5, 2.0
N_TEXTS = 1000
BATCHES = (1, 32)
LEAST_COSINE = 0.9999

ROUND = """
import json, sys, time
from importlib import import_module
from pathlib import Path
import torch

def first(*names):
    for name in names:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            pass
    raise ModuleNotFoundError(names)

what, threads, seed, cache, tatoeba, beto, batch, n_texts, output = json.loads(sys.argv[1])
torch.set_num_threads(threads)
measure, rates = import_module("benchmarks.measure"), import_module("benchmarks.training_rate")
options = measure.Options(tatoeba and Path(tatoeba), beto and Path(beto), threads, seed)
if what == "encode":
    student_module = first("themo.models.student", "themo.student")
    tokens = first("themo.models.tokens", "themo.tokens")
    torch.manual_seed(seed)
    head = student_module.Head(512, "mean", False, False, 77)
    student = student_module.Student.build(beto, head, weights=False, projection_init="clip").eval()
    tokenizer = tokens.Tokenizer.load(beto)
    lines = (options.tatoeba / "spa.txt").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\\t")[1] for line in lines[:: len(lines) // n_texts][:n_texts]]
    # what `themo.load(...)` passes on
    weights = {"weights": student.weights_for_encoding()} if hasattr(student, "weights_for_encoding") else {}

    def work(number):
        vectors = student.encode(tokenizer, texts, batch, **weights)
        if number < 0:
            torch.save(vectors, output)
        return len(texts)
else:
    config = first("themo.config.settings", "themo.config")
    preparation = first("themo.data.preparation", "themo.preparation")
    if what == "tatoeba":
        settings = rates.tatoeba_settings(options, Path(cache))
    else:
        settings = config.load().override({"threads": threads, "seed": seed, "cache_dir": cache})
    work = rates.Ours(settings, preparation.prepare_data(settings), 15)
for line in sys.stdin:
    start = time.process_time()
    units = work(int(line))
    print("rate", units / (time.process_time() - start), flush=True)
"""


def run(options: Options) -> list[Row]:
    """Ratios of the rates to the older commit's."""
    return compared(BEFORE, ROUNDS, options)


def compared(commit: str, rounds: int, options: Options) -> list[Row]:
    """Measure the miniature's student and, with real data, Tatoeba's student and a student of BETO's size."""
    refusal = options.why_no_real_data()
    with checkout(commit) as before:
        rows = [_training("miniature", before, commit, rounds, options)]
        if refusal:
            return [*rows, Row(f"training rate, tatoeba: {commit} = 1", None, "x", detail=refusal)]
        rows.append(_training("tatoeba", before, commit, rounds, options))
        for batch in BATCHES:
            rows += _encoding(batch, before, commit, rounds, options)
    return rows


def _training(corpus: str, before: Path, commit: str, rounds: int, options: Options) -> Row:
    with tempfile.TemporaryDirectory(prefix="themo-bench-") as folder:
        comparison = _alternate(corpus, before, rounds, options, Path(folder), batch=0)
    name = f"training rate, {corpus}: {commit} = 1"
    return comparison.row(name, TRAINING_GOAL, "pairs", "CPU time", options.seed)


def _encoding(batch: int, before: Path, commit: str, rounds: int, options: Options) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="themo-bench-") as name:
        folder = Path(name)
        comparison = _alternate("encode", before, rounds, options, folder, batch=batch)
        now, then = (torch.load(folder / f"{tree}.pt", weights_only=True) for tree in ("now", "before"))
    least = float(torch.cosine_similarity(now, then).min())
    what = f"encoding {N_TEXTS:,} sentences, batch {batch}"
    detail = "student of BETO's size, random weights"
    return [
        comparison.row(f"{what}: {commit} = 1", ENCODING_GOAL, "texts", f"{detail}, CPU time", options.seed),
        Row(
            f"{what}, lowest cosine to {commit}", least, "", Goal(LEAST_COSINE), None, detail, (options.seed,)
        ),
    ]


def _alternate(
    what: str, before: Path, rounds: int, options: Options, folder: Path, *, batch: int
) -> Comparison:
    """Run alternating rounds in both trees after a warm-up, with the order reversed in every other round."""
    rates: dict[str, list[float]] = {"now": [], "before": []}
    real = [str(path) if path else None for path in (options.tatoeba, options.beto)]
    with tempfile.TemporaryDirectory(prefix="themo-bench-") as caches:
        shared = [what, options.threads, options.seed]
        asked = {
            name: [*shared, f"{caches}/{name}", *real, batch, N_TEXTS, str(folder / f"{name}.pt")]
            for name in rates
        }
        with _started(HERE, asked["now"]) as now, _started(before, asked["before"]) as then:
            for number in range(-1, rounds):
                order = [("now", now), ("before", then)]
                for name, process in order if number % 2 == 0 else order[::-1]:
                    rate = _rate(process, number)
                    if number >= 0:
                        rates[name].append(rate)
                if number >= 0:
                    ratio = rates["now"][-1] / rates["before"][-1]
                    print(f"{what}, batch {batch}, round {number + 1}: {ratio:.2f}", file=sys.stderr)
    return Comparison(rates["now"], rates["before"])


@contextmanager
def _started(tree: Path, asked: Sequence[Any]) -> Iterator[subprocess.Popen[str]]:
    """Yield a process of a tree that runs a round for each number on its standard input."""
    command = [sys.executable, "-c", ROUND, json.dumps(asked)]
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _rate(process: subprocess.Popen[str], number: int) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    for line in process.stdout:
        name, _, figure = line.partition(" ")
        if name == "rate":
            return float(figure)
    raise RuntimeError("a round ended without a rate")


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description="Training and encoding rate against an older commit.")
    parser.add_argument("--commit", default=BEFORE, help=f"the older commit (default {BEFORE})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of each tree (default {ROUNDS})")
    parser.add_argument("--tatoeba", type=Path, help="folder of spa.txt and targets.npy")
    parser.add_argument("--beto", type=Path, help="folder of config.json and vocab.txt of BETO")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and orders (default 0)")
    asked = parser.parse_args()
    options = Options(asked.tatoeba, asked.beto, 1, asked.seed)
    for row in compared(asked.commit, asked.rounds, options):
        print(row.to_json())


if __name__ == "__main__":
    main()
