"""Approximate indexes of pictures: faiss, usearch and hnswlib beside the exact search.

    python -m benchmarks approximate_index --tatoeba FOLDER [--pictures 100000 300000] [--indexes RaBitQ]

Vectors are those of `benchmarks.picture_vectors`; queries are its texts. Every index returns candidates,
whose stored float32 vectors are then compared; times and recall include this comparison. An index visits as
few lists or nodes as give `LEAST_RECALL` of the exact ten best of other texts. Queries run one at a time in
one thread. All indexes take turns in each round; a ratio divides two times of the same round.
"""

from __future__ import annotations

import gc
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ann_libraries import Library, libraries, missing
from benchmarks.measure import Options, Row
from benchmarks.memory import Memory
from benchmarks.picture_vectors import PictureVectors, Vectors
from themo.image_search import approximate_folder
from themo.image_search.approximate import ApproximateIndex
from themo.image_search.approximate_folder import Recall
from themo.image_search.building import PIECE_ROWS
from themo.image_search.codes_folder import write_codes
from themo.image_search.index import ImageIndex
from themo.image_search.lists import Lists
from themo.image_search.pieces import MappedVectors

N_TEXTS = 200
N_TUNING = 100
"""Texts on which the effort is chosen; times and recall are measured on the others."""
ROUNDS = 5
N_BEST, N_MORE = 10, 100
LEAST_RECALL = 0.95
MOST_PRECISE = 1e-6
"""Scores with a smaller difference count as equal: products of different shapes round differently."""


Ask = Callable[[Vectors], object]
"""Searches for a text."""
Scores = Callable[[Vectors, int], Vectors]
"""Returns the scores of a given number of best matches of a text, best first."""


@dataclass(frozen=True)
class Contender:
    """A search to be measured.

    Attributes:
        name: Its name.
        ask: Answers a text; this call is timed.
        scores: Returns scores for the recall; None: the search is exact.
        detail: Effort and sizes, for the row.
    """

    name: str
    ask: Ask
    scores: Scores | None = None
    detail: str = ""


@dataclass
class Built:
    """An index that was built, stored and read again.

    Attributes:
        library: Kind of the index.
        pictures: The exact index.
        opened: The library's index.
        effort: Number of lists or nodes that a query visits.
        seconds: CPU seconds to build the index.
        mb_on_disk, mb_in_memory: Megabytes of its file, and of resident memory after a read and a search.
    """

    library: Library
    pictures: ImageIndex
    opened: Any
    effort: int
    seconds: float
    mb_on_disk: float
    mb_in_memory: float = 0.0

    def scores(self, text: Vectors, k: int) -> Vectors:
        """Return the exact scores of the best k candidates, the best first."""
        rows = self.library.search(self.opened, text, self.library.candidates * k, self.effort)
        scores: Vectors = -np.sort(-(self.pictures.vectors(rows) @ text))[:k]
        return scores

    @property
    def detail(self) -> str:
        """Effort, build time and sizes."""
        return (
            f"effort {self.effort}; built in {self.seconds:.0f} s; "
            f"{self.mb_on_disk:.0f} MB on disk, {self.mb_in_memory:.0f} in memory"
        )


def run(options: Options) -> list[Row]:
    """Rows for each number of pictures."""
    why = missing() or (None if options.tatoeba else "skipped: give --tatoeba, or set THEMO_BENCH_TATOEBA")
    if why is not None or options.tatoeba is None:
        return [Row("approximate index", None, "ms", detail=str(why))]
    rows = []
    for n in options.pictures:
        source = PictureVectors(options.tatoeba / "targets.npy", options.seed)
        with tempfile.TemporaryDirectory() as folder:
            rows += _measure(Path(folder), source, n, options)
    return rows


def _recall(scores: Scores, texts: Vectors, best: Vectors, k: int) -> float:
    """Return the share of the exact k best that is found; `best` has each text's exact scores in order."""
    pairs = zip(texts, best, strict=True)
    return float(
        np.mean([(scores(text, k) >= exact[k - 1] - MOST_PRECISE).sum() / k for text, exact in pairs])
    )


def _measure(folder: Path, source: PictureVectors, n: int, options: Options) -> list[Row]:
    texts = source.texts(N_TEXTS)
    pictures = _pictures(folder, source, n)
    best = _best_scores(pictures, texts)
    tuning, asked = texts[:N_TUNING], texts[N_TUNING:]
    indexes = [
        _build(library, pictures, tuning, best[:N_TUNING], folder / "index")
        for library in libraries()
        if not options.indexes or any(part in library.name for part in options.indexes)
    ]
    plain = replace(pictures, codes=())
    contenders = [
        Contender("all vectors compared", lambda text: plain.search(text[None], N_BEST)),
        Contender("exact search", lambda text: pictures.search(text[None], N_BEST)),
    ]
    for index in indexes:
        if isinstance(index.opened, Lists):
            contenders.append(_as_shipped(index))
        contenders.append(
            Contender(index.library.name, partial(index.scores, k=N_BEST), index.scores, index.detail)
        )
    exact_ms, *all_ms = _alternate([each.ask for each in contenders], asked)
    rows = []
    for each, ms in zip(contenders, [exact_ms, *all_ms], strict=True):
        ratio = statistics.median(a / b for a, b in zip(exact_ms, ms, strict=True))
        details = [f"{ratio:.1f} times as fast as all vectors", each.detail]
        if each.scores is not None:
            recalls = [_recall(each.scores, asked, best[N_TUNING:], k) for k in (N_BEST, N_MORE)]
            details.insert(1, f"recall@{N_BEST} {recalls[0]:.3f}, @{N_MORE} {recalls[1]:.3f}")
        name, spread = f"{n:,} pictures, {each.name}", (min(ms), max(ms))
        detail = "; ".join(filter(None, details))
        rows.append(Row(name, statistics.median(ms), "ms", None, spread, detail, (options.seed,)))
    return rows


def _pictures(folder: Path, source: PictureVectors, n: int) -> ImageIndex:
    """Return an exact index of n pictures, with pieces on disk."""
    pieces, codes = [], []
    for number, rows in enumerate(source.pictures(n, PIECE_ROWS)):
        np.save(folder / f"{number}.npy", rows)
        pieces.append(MappedVectors(folder / f"{number}.npy"))
        codes.append(write_codes(folder / f"{number}.codes.npy", rows))
    numbers = np.arange(n)
    return ImageIndex(
        tuple(map(str, numbers)),
        tuple(pieces),
        {},
        0,
        file_of=numbers,
        twin_of=numbers,
        pixels=numbers.astype(np.uint64),
        codes=tuple(codes),
    )


def _best_scores(pictures: ImageIndex, texts: Vectors) -> Vectors:
    """Return each text's `N_MORE` best scores in order."""
    best = torch.empty((len(texts), 0))
    for piece in pictures.pieces:
        every = torch.cat([best, torch.from_numpy(texts) @ torch.from_numpy(piece.rows).T], dim=1)
        best = every.topk(N_MORE).values
        piece.release()
    scores: Vectors = best.numpy()
    return scores


def _build(library: Library, pictures: ImageIndex, texts: Vectors, best: Vectors, path: Path) -> Built:
    """Build an index, store and read it, and choose its effort."""
    start = time.process_time()
    made = library.build(pictures.pieces)
    seconds = time.process_time() - start
    library.write(made, path)
    del made
    for piece in pictures.pieces:
        piece.release()
    gc.collect()
    before = Memory.now().resident
    built = Built(library, pictures, library.read(path), 0, seconds, path.stat().st_size / 1e6)
    for effort in library.efforts:
        built.effort = effort
        if _recall(built.scores, texts, best, N_BEST) >= LEAST_RECALL:
            break
    for piece in pictures.pieces:
        piece.release()
    built.mb_in_memory = (Memory.now().resident - before) / 1e6
    path.unlink()
    return built


def _as_shipped(index: Built) -> Contender:
    """Return the search of ``search --approximate`` over the same lists."""
    pictures = index.pictures
    covered = approximate_folder.Built(index.opened, np.empty((0, 0), np.float32), pictures.pixels)
    approximate = ApproximateIndex(pictures, covered, Recall(math.nan, 0, index.effort, ""))

    def scores(text: Vectors, k: int) -> Vectors:
        best: Vectors = -np.sort(-approximate.part(text, k).scores(text[None])[:, 0])[:k]
        return best

    def ask(text: Vectors) -> object:
        return approximate.part(text, N_BEST).search(text[None], N_BEST)

    return Contender("search --approximate", ask, scores)


def _alternate(asks: Sequence[Ask], texts: Vectors) -> list[list[float]]:
    """Return the CPU time of a query, in milliseconds, in each round, for each search."""
    taken: list[list[float]] = [[] for _ in asks]
    for number, part in enumerate(np.array_split(texts, ROUNDS)):
        for ask, ms in zip(asks, taken, strict=True):
            if number == 0:
                ask(part[0])  # warm-up
            start = time.process_time()
            for text in part:
                ask(text)
            ms.append(1000 * (time.process_time() - start) / len(part))
    return taken
