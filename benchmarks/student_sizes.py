"""Measures the quality of smaller forms of a student: a static table (miniature), nested widths (Tatoeba).

The miniature's student is trained with 12 epochs at a learning rate of 4e-3, and its table is distilled as
`export --format static` does. Rates are per second of one thread's CPU time, in alternating rounds, for
captions without and with a full stop, since words with punctuation take another code path. On Tatoeba a
student of width 128 is trained for two epochs with a nested width of 32 of its targets' 128 dimensions, and
one without.

    python -m benchmarks student_sizes
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import themo
from benchmarks.measure import Comparison, Goal, Options, Row, Work, compare
from themo.checkpoints.versions import settings_here
from themo.data.sources import Sources
from themo.data.xtd10 import read_captions
from themo.evaluation.encoders import examine
from themo.evaluation.score_names import RETRIEVAL, STUDENT
from themo.export.exporting import export_version
from themo.export.source import Source

ROUNDS = 5
WIDTH, HIDDEN = 32, 128


def run(options: Options) -> list[Row]:
    """Rows of the static table and of the nested width."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_static(Path(folder), options), *_nested(Path(folder), options)]


def _static(folder: Path, options: Options) -> list[Row]:
    result = themo.train(
        epochs=12, learn_rate=4e-3, report_pairs=100_000, seed=options.seed, logs_dir=folder, mlflow=False
    )
    version, table = result.version, folder / "static"
    export_version(Source.open(version), "static", table)
    settings = settings_here(version)
    whole, static = (
        examine(settings_here(place), place, task="retrieval").scores.share(STUDENT, RETRIEVAL, 1)
        for place in (version, table)
    )
    captions = Sources(settings).path(str(settings.benchmarks.captions), "benchmarks.captions")
    texts = list(read_captions(captions, "es")["es"])
    encoders = themo.load(table).encode, themo.load(version).encode
    rates, with_stops = _rates(*encoders, texts), _rates(*encoders, [f"{text}." for text in texts])
    sizes = [_megabytes(place) for place in (version / "student", table)]
    return [
        Row("static table: share of the student's R@1", static / whole, "", Goal(0.85), None,
            f"{static:.3f} of {whole:.3f}, miniature"),
        rates.row("static table: texts per second, student = 1", 50.0, "texts"),
        with_stops.row("static table: the same with full stops", 50.0, "texts"),
        Row("static table: share of the student's MB", sizes[1] / sizes[0], "", Goal(0.1, "<"), None,
            f"{sizes[1]:.3f} of {sizes[0]:.3f} MB"),
    ]  # fmt: skip


def _rates(ours: Callable[..., Any], theirs: Callable[..., Any], texts: list[str]) -> Comparison:
    """Texts per second of the table and of the student, on one thread; the table encodes 40 times as many."""

    def work(encode: Callable[..., Any], times: int) -> Work:
        def encode_all(_number: int) -> float:
            encode(texts * times)
            return times * len(texts)

        return encode_all

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return compare("a static table", work(ours, 40), work(theirs, 1), ROUNDS, time.process_time)
    finally:
        torch.set_num_threads(threads)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != "README.md") / 1e6


def _nested(folder: Path, options: Options) -> list[Row]:
    name = f"nested width {WIDTH} of 128, Tatoeba: share of val/match@01"
    reason = options.why_no_real_data()
    if reason is not None or options.tatoeba is None:
        return [Row(name, None, "", Goal(0.95), None, str(reason))]
    best = {}
    for widths in ([WIDTH], None):
        trained = themo.train(
            corpus=[options.tatoeba / "spa.txt"],
            columns=["1", "2"],
            targets=options.tatoeba / "targets.npy",
            backbone=options.beto,
            backbone_weights=False,
            hidden_size=HIDDEN,
            hidden_layers=2,
            dropout=0.0,
            epochs=2.0,
            learn_rate=4e-3,
            batch_size=112,
            loss="mse",
            pooling="first",
            nested_widths=widths,
            report_pairs=60_000,
            threads=options.threads,
            seed=options.seed,
            logs_dir=folder,
            mlflow=False,
        )
        best[widths is None] = trained.best.metrics
    short = best[False][f"val/width{WIDTH}/match@01"]
    whole, plain = best[False]["val/match@01"], best[True]["val/match@01"]
    return [
        Row(name, short / whole, "", Goal(0.95), None, f"{short:.3f} of {whole:.3f}"),
        Row(f"{name}, plain student's", short / plain, "", None, None, f"{short:.3f} of {plain:.3f}"),
    ]
