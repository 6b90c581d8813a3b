"""Time and memory of a query over 100,000 indexed pictures.

The vectors are random with 768 dimensions, as CLIP ViT-L/14's; the student is a BERT of BETO's size with
random weights. Model and index are loaded beforehand, as in a program that answers many queries.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Goal, Options, Row
from benchmarks.memory import Memory, Peak
from benchmarks.synthetic import words, write_backbone
from themo.files.cache import Cache
from themo.image_search.building import PIECE_ROWS
from themo.image_search.codes_folder import write_codes
from themo.image_search.index import ImageIndex
from themo.image_search.pieces import MappedVectors
from themo.models.runtimes.choice import TITLES
from themo.models.runtimes.encoder import open_encoder
from themo.models.student import Head, Student, save_student
from themo.models.tokens import Tokenizer

N_PICTURES, DIMENSION = 100_000, 768
ROUNDS = 15
N_WATCHED = 200
"""Number of queries for the memory measurement: enough for some samples within each piece."""
GOAL = Goal(100.0, "<")
"""Milliseconds on two cores; the student's encoding of the text takes most of them."""
GOAL_MIB = Goal(2 * PIECE_ROWS * DIMENSION * 4 / 2**20, "<")
"""Less than two pieces of the index: only one is mapped at a time."""
GAIN = Goal(3.0)
"""Gain of the default runtime and the codes over PyTorch in float32 and all vectors."""
THREADS = 2
N_BEST = 10
N_WORDS = 8


def run(options: Options) -> list[Row]:
    """The rows of `measured` with `THREADS`, as the goals are for two cores; ``--threads`` has no effect."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        return measured(options)
    finally:
        torch.set_num_threads(before)


def measured(options: Options) -> list[Row]:
    """Rows for the index alone, compared with a plain matrix product, and for a Spanish text query."""
    random = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vectors_NE = random.standard_normal((N_PICTURES, DIMENSION), dtype=np.float32)
        vectors_NE /= np.linalg.norm(vectors_NE, axis=1, keepdims=True)
        index = _index(folder, vectors_NE)
        student, tokenizer = beto_student(folder, options.seed)
        query_E = random.standard_normal(DIMENSION).astype(np.float32)
        query_E /= np.linalg.norm(query_E)
        text = " ".join(words(N_WORDS))

        def search() -> list[str]:
            return [match.name for match in index.search(query_E[None], N_BEST)[0]]

        def product() -> list[str]:
            scores = torch.mv(torch.from_numpy(vectors_NE), torch.from_numpy(query_E)).numpy()
            best = np.argpartition(scores, -N_BEST)[-N_BEST:]
            return [str(row) for row in best[np.argsort(-scores[best])]]

        def answer_by(encode: Callable[[list[str]], torch.Tensor], index: ImageIndex) -> Callable[[], None]:
            def answer() -> None:
                vector = torch.nn.functional.normalize(encode([text]), dim=1)
                index.search(vector.numpy(), N_BEST)

            return answer

        save_student(
            folder / "student", student.state_dict(), student.head, student.backbone.config, tokenizer
        )
        default = open_encoder(folder / "student", "auto", torch.device("cpu"), Cache(folder / "cache"))
        by_default = answer_by(lambda texts: default.encode(texts, len(texts)), index)
        in_float32 = answer_by(lambda texts: student.encode(tokenizer, texts), replace(index, codes=()))

        peak = peak_mib(search, N_WATCHED)  # before any other search
        assert search() == product(), "the ranking must be exact"
        searches, products, answers, plain = _alternate(search, product, by_default, in_float32)
    ratios = [a / b for (a, _), (b, _) in zip(searches, products, strict=True)]
    name = f"search of {N_PICTURES:,} pictures"
    return [
        _milliseconds(f"{name}, vector to answer", searches, options, f"top {N_BEST}, exact", GOAL),
        _milliseconds(
            f"{name}, text to answer",
            answers,
            options,
            f"includes encoding with a student of BETO's size in {TITLES[default.runtime]}",
            GOAL,
        ),
        *_gains(f"{name}, text to answer: float32 everywhere = 1", answers, plain, options),
        Row(
            f"{name} against a product in memory",
            statistics.median(ratios),
            "x its time",
            spread=(min(ratios), max(ratios)),
            detail=f"float32 product and top {N_BEST}: {statistics.median(t for t, _ in products):.0f} ms",
            seeds=(options.seed,),
        ),
        Row(
            f"{name}, peak memory",
            peak,
            "MiB",
            GOAL_MIB,
            detail=f"resident, beyond the memory before the first of {N_WATCHED} searches; "
            f"{vectors_NE.nbytes / 2**20:.0f} MiB on disk",
            seeds=(options.seed,),
        ),
    ]


def _milliseconds(
    name: str, times: list[tuple[float, float]], options: Options, detail: str, goal: Goal
) -> Row:
    walls, processor = ([each[i] for each in times] for i in range(2))
    return Row(
        name,
        statistics.median(walls),
        "ms",
        goal,
        (min(walls), max(walls)),
        f"median of {len(times)}; {statistics.median(processor):.0f} ms of CPU time; {detail}",
        (options.seed,),
    )


def _gains(
    name: str, ours: list[tuple[float, float]], theirs: list[tuple[float, float]], options: Options
) -> list[Row]:
    """Rows with the ratio of theirs to ours, by wall-clock time and by CPU time."""
    rows = []
    for i, measured_by in enumerate(("by wall-clock time", "by CPU time")):
        ratios = [b[i] / a[i] for a, b in zip(ours, theirs, strict=True)]
        spread = min(ratios), max(ratios)
        median = statistics.median(ratios)
        rows.append(Row(f"{name}, {measured_by}", median, "x", GAIN, spread, seeds=(options.seed,)))
    return rows


def _index(folder: Path, vectors_NE: np.ndarray) -> ImageIndex:
    """An open index with pieces on disk."""
    pieces, codes = [], []
    for start in range(0, N_PICTURES, PIECE_ROWS):
        path = folder / f"{start}.npy"
        np.save(path, vectors_NE[start : start + PIECE_ROWS])
        pieces.append(MappedVectors(path))
        codes.append(write_codes(folder / f"{start}.codes.npy", vectors_NE[start : start + PIECE_ROWS]))
    rows = np.arange(N_PICTURES)  # none of them is a copy
    pixels = rows.astype(np.uint64)
    return ImageIndex(tuple(map(str, rows)), tuple(pieces), {}, 0, rows, rows, pixels, tuple(codes))


def beto_student(folder: Path, seed: int) -> tuple[Student, Tokenizer]:
    """A student of BETO's size with random weights; `folder` gets its backbone's configuration."""
    write_backbone(folder, hidden_size=DIMENSION, layers=12)
    torch.manual_seed(seed)
    head = Head(DIMENSION, "mean", last_layer_norm=False, projection_bias=False, max_length=77)
    student = Student.build(str(folder), head, weights=False, projection_init="clip")
    return student.eval(), Tokenizer.load(str(folder))


def _alternate(*works: Callable[[], object]) -> list[list[tuple[float, float]]]:
    """Milliseconds of each work over alternating rounds after a warm-up: wall-clock time and CPU time.

    With one thread, CPU time is about the wall-clock time on an idle machine.
    """
    times: list[list[tuple[float, float]]] = [[] for _ in works]
    for number in range(-1, ROUNDS):
        for work, taken in zip(works, times, strict=True):
            start, used = time.perf_counter(), time.process_time()
            work()
            if number >= 0:
                taken.append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)))
    return times


def peak_mib(work: Callable[[], object], times: int) -> float:
    """Peak resident memory of repeated work, beyond the memory before it, in MiB.

    Mapped pages count, even those that the work releases at its end.
    """
    before = Memory.now().resident
    with Peak() as peak:
        for _ in range(times):
            work()
    return (peak.highest.resident - before) / 2**20
