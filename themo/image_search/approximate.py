"""Approximate index over an exact one: a query compares only some of the pictures.

Inverted lists (`themo.image_search.lists`) select candidates, and the stored float32 vectors of the
candidates are compared. Scores and order of the matches are therefore exact, but some of the best pictures
may be missing. Recall is measured on the student's reference texts (`themo.image_search.references`) and
determines the number of lists that a query searches.

Pieces with new pictures, which the lists do not cover, are compared as a whole. Pictures are identified by
their pixels, so lists stay valid when pieces are rewritten. Lists are rebuilt when new and deleted pictures
exceed `MOST_STALE` of all.

Shape suffixes: N pictures, M pictures in the lists, K terms of a query, R reference texts, E dimensions.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import torch

from themo.errors import InputError
from themo.files.locks import alone
from themo.image_search.approximate_folder import Built, Pixels, Recall
from themo.image_search.index import ImageIndex
from themo.image_search.lists import Lists
from themo.image_search.pieces import Vectors
from themo.image_search.ranking import Rows
from themo.process.progress import track, waiting

FEWEST_PICTURES = 50_000
"""Least number of pictures: 100,000 take 8 ms exactly (docs/experiments/picture-search-speed.md)."""
LEAST_RECALL = 0.95
"""Target recall, which determines the number of lists to search."""
N_COUNTED = 10
"""The k of the measured recall@k."""
MOST_TEXTS = 200
"""Greatest number of reference texts of the measurement."""
CANDIDATES = 20
"""Number of candidates per requested match."""
MOST_CANDIDATES = 0.1
"""Greatest number of candidates, as a share of all pictures."""
MOST_STALE = 0.1
"""Greatest share of new and deleted pictures with which lists are still used."""
_SEED = 0


class ApproximateIndex:
    """Approximate lists over an open index.

    Args:
        index: The index.
        built: Lists of the index.
        recall: Recall of the lists.
    """

    def __init__(self, index: ImageIndex, built: Built, recall: Recall) -> None:
        self.recall = recall
        self._index = index
        self._built = built
        self._row_of, new_rows = _places(index, built.pixels)
        self._uncovered = np.unique(np.searchsorted(index.starts, new_rows, side="right") - 1)
        built.lists.remove(np.flatnonzero(self._row_of < 0))

    @classmethod
    def update(cls, index: ImageIndex, references_RE: Vectors) -> ApproximateIndex:
        """Open the lists of an index; build them and measure their recall if needed.

        Args:
            index: An index on disk.
            references_RE: float32 vectors of the student's reference texts, of length 1.

        Raises:
            InputError: The cache cannot be written.
            ValueError: The index is not on disk.
        """
        if index.home is None:
            raise ValueError("an approximate index belongs to an index on disk")
        home = index.home.with_name(f"{index.home.name}.approximate")
        texts_RE = _spaced(references_RE, MOST_TEXTS)
        try:
            busy = f"{home}: another process is building it; waiting"
            with alone(home.with_name(f".{home.name}.lock"), busy):
                built = Built.read(home)
                if built is None or _stale(index, built.pixels) > MOST_STALE:
                    built = _build(index)
                    built.write(home)
                recall = built.recall
                if recall is None or recall.texts != _digest(texts_RE):
                    recall = _measure(index, built, texts_RE)
                    replace(built, recall=recall).write_recall(home)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"cache_dir {home.parent}: cannot write the index: {reason}") from error
        return cls(index, built, recall)

    def holds(self, n_best: int) -> bool:
        """Whether candidates for `n_best` matches are few enough; else all pictures are compared."""
        return are_few(n_best, len(self._index.names))

    def part(self, query_E: Vectors, n_best: int) -> ImageIndex:
        """Return the candidates of a query as an index in memory.

        Args:
            query_E: float32 vector of length 1.
            n_best: Number of requested matches.
        """
        n_wanted = max(n_best, N_COUNTED)
        n = CANDIDATES * n_wanted
        n_probes = math.ceil(self.recall.n_probes * math.sqrt(n_wanted / N_COUNTED))  # more lie further out
        found = [self._row_of[self._built.lists.search(query_E, n, n_probes)]]
        for number in self._uncovered:
            piece = self._index.pieces[number]
            scores = torch.mv(torch.from_numpy(piece.rows), torch.from_numpy(query_E))
            piece.release()
            found.append(scores.topk(min(n, len(scores))).indices.numpy() + self._index.starts[number])
        return self._index.part(np.concatenate(found))

    def deviations(self, vectors_KE: Vectors) -> Vectors:
        """Return the (K,) standard deviations of products of vectors with all pictures in the lists."""
        variances_K: Vectors = ((vectors_KE @ self._built.spread_EE) * vectors_KE).sum(axis=1)
        deviations_K: Vectors = np.sqrt(variances_K.clip(min=0))
        return deviations_K


def are_few(n_best: int, n: int) -> bool:
    """Return whether candidates for `n_best` matches are few enough among `n` pictures."""
    return CANDIDATES * max(n_best, N_COUNTED) <= MOST_CANDIDATES * n


def too_few_to_approximate(n: int, n_best: int) -> str | None:
    """Return the reason to search `n` pictures exactly for `n_best` matches; None: search approximately."""
    if n < FEWEST_PICTURES:
        return f"below {FEWEST_PICTURES:,} pictures this is fast enough, and the folder has {n:,}"
    if not are_few(n_best, n):
        return f"--top {n_best:,} is above 1 in {CANDIDATES / MOST_CANDIDATES:.0f} of the {n:,} pictures"
    return None


def _build(index: ImageIndex) -> Built:
    n = len(index.names)
    with track("Building the approximate index", n, "pictures") as advance:
        lists = Lists.build(index.pieces, _SEED, advance)
    return Built(lists, _covariance(index), index.pixels)


def _covariance(index: ImageIndex) -> Vectors:
    """Return the (E, E) covariance of all vectors."""
    some_E = torch.from_numpy(index.pieces[0].rows).mean(0)  # near the mean, so that rounding takes little
    mean_E = torch.zeros(len(some_E), dtype=torch.float64)
    products_EE = torch.zeros(len(some_E), len(some_E), dtype=torch.float64)
    for piece in index.pieces:
        rows = torch.from_numpy(piece.rows) - some_E
        mean_E += rows.sum(0) / len(index.names)
        products_EE += rows.T @ rows / len(index.names)
        piece.release()
    covariance_EE: Vectors = (products_EE - torch.outer(mean_E, mean_E)).float().numpy()
    return covariance_EE


def _places(index: ImageIndex, listed_M: Pixels) -> tuple[Rows, Rows]:
    """Return a row of each picture in the lists, -1 if deleted, and the rows of the pictures in no list."""
    order = np.argsort(index.pixels, kind="stable")
    places_M = np.searchsorted(index.pixels, listed_M, sorter=order).clip(max=len(order) - 1)
    rows_M = order[places_M]
    rows_M = np.where(index.pixels[rows_M] == listed_M, rows_M, -1)
    return rows_M, np.flatnonzero(~np.isin(index.pixels, listed_M))


def _stale(index: ImageIndex, listed_M: Pixels) -> float:
    """Return the share of new and deleted pictures."""
    rows_M, new_rows = _places(index, listed_M)
    return (len(new_rows) + int((rows_M < 0).sum())) / len(index.names)


def _measure(index: ImageIndex, built: Built, texts_RE: Vectors) -> Recall:
    """Return the recall at the least power-of-two number of lists that reaches `LEAST_RECALL`."""
    n = min(N_COUNTED, len(index.names))
    with waiting("Measuring the approximate index"):
        least_R = _scores_of_place(index, texts_RE, n)
        most = built.lists.n_lists
        for n_probes in [2**i for i in range(3, 32) if 2**i < most] + [most]:
            measured = Recall(math.nan, len(texts_RE), n_probes, _digest(texts_RE))
            tried = ApproximateIndex(index, built, measured)
            n_found = 0
            for text_E, least in zip(texts_RE, least_R, strict=True):
                scores = tried.part(text_E, n).scores(text_E[None])
                n_found += min(int((scores >= least).sum()), n)  # of equal scores any will do
            measured = replace(measured, share=n_found / (n * len(texts_RE)))
            if measured.share >= LEAST_RECALL:
                break
    return measured


def _scores_of_place(index: ImageIndex, texts_RE: Vectors, place: int) -> Vectors:
    """Return the (R,) score at a place of each text's exact ranking, minus the rounding error."""
    texts = torch.from_numpy(texts_RE)
    best = torch.empty((len(texts_RE), 0))
    for piece in index.pieces:
        every = torch.cat([best, texts @ torch.from_numpy(piece.rows).T], dim=1)
        best = every.topk(min(place, every.shape[1])).values
        piece.release()
    scores_R: Vectors = (best[:, -1] - 1e-6).numpy()
    return scores_R


def _spaced(references_RE: Vectors, most: int) -> Vectors:
    """Return at most `most` evenly spaced texts: neighbours are of one kind, such as animals."""
    places = np.linspace(0, len(references_RE) - 1, min(most, len(references_RE)))
    texts_RE: Vectors = references_RE[places.astype(int)]
    return texts_RE


def _digest(texts_RE: Vectors) -> str:
    return hashlib.sha256(texts_RE.tobytes()).hexdigest()
