"""Metrics on tensors: recall, accuracy, matching, and their confidence intervals.

Shape suffixes: T texts, I images, C classes, Q queries, G gallery, N held-out pairs, E or D embedding.

Retrieval is text to image: a caption has one right image, several captions may share it. With two images
and three captions, ``image_of_text = [0, 1, 1]`` says that captions 1 and 2 both describe image 1.
``recall@k`` is the share of *captions* whose right image is among the k best, so every caption counts once.

Ties count against the right answer: an image with the same score as the right one ranks before it. So a model
that gives everything the same score gets 0, not 1, and a NaN never counts as a hit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from themo.errors import InputError

Z_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution: two-sided 95 %."""

SAME_TARGET = 1 - 1e-4
"""Teacher vectors with a greater cosine are one sentence: half-precision copies differ by less."""

MAX_SCORES = 2**22
"""Scores per chunk: 16 MiB of float32; larger chunks were slower (measured)."""


def ranks(scores_QG: torch.Tensor, right_Q: torch.Tensor) -> torch.Tensor:
    """Count, for each query, the wrong items that are not scored below the right one.

    Args:
        scores_QG: (Q, G) floating scores, higher is better.
        right_Q: (Q,) int64, the column of each query's right item.

    Returns:
        (Q,) int64 ranks from 0 (only the right item is at the top) to G - 1.

    Raises:
        ValueError: If the shapes disagree or an index is no column.
    """
    if scores_QG.ndim != 2 or right_Q.shape != scores_QG.shape[:1]:
        raise ValueError(
            f"scores (Q, G) need right items (Q,), got {tuple(scores_QG.shape)} and {tuple(right_Q.shape)}"
        )
    n_items = scores_QG.shape[1]
    outside_Q = (right_Q < 0) | (right_Q >= n_items)
    if outside_Q.any():
        raise ValueError(f"right items must lie in 0..{n_items - 1}, got {int(right_Q[outside_Q][0])}")
    right_Q1 = scores_QG.gather(1, right_Q[:, None])
    # "not below" instead of "above" covers ties and NaN; the right item itself is subtracted
    return scores_QG.lt(right_Q1).logical_not_().sum(dim=1) - 1


def ranks_by_cosine(
    queries_QE: torch.Tensor, gallery_GE: torch.Tensor, right_Q: torch.Tensor, max_scores: int = MAX_SCORES
) -> torch.Tensor:
    """Compute `ranks` of cosine similarities in chunks.

    Args:
        queries_QE: (Q, E) floating vectors of any length; computed in float32.
        gallery_GE: (G, E) floating vectors of any length.
        right_Q: (Q,) int64, the gallery row of each query's right item.
        max_scores: Scores held at once; one query's scores are never split, so at least G.

    Returns:
        (Q,) int64 ranks, on the gallery's device.

    Raises:
        ValueError: If the shapes disagree or an index is no row of the gallery.
    """
    chunks = _cosines(queries_QE, gallery_GE, right_Q, max_scores)
    return torch.cat([ranks(scores, right) for scores, right in chunks])


class Found(NamedTuple):
    """Ranks of the right items (Q,), and the items found first (Q, at most k): int64, on the CPU."""

    ranks: torch.Tensor
    first: torch.Tensor


def find_by_cosine(
    queries_QE: torch.Tensor,
    gallery_GE: torch.Tensor,
    right_Q: torch.Tensor,
    k: int,
    max_scores: int = MAX_SCORES,
) -> Found:
    """Compute `ranks_by_cosine` and the k items that each query finds first, from the same similarities.

    Args:
        queries_QE: As of `ranks_by_cosine`.
        gallery_GE: As of `ranks_by_cosine`.
        right_Q: As of `ranks_by_cosine`.
        k: Number of items, at most G.
        max_scores: As of `ranks_by_cosine`.

    Returns:
        The ranks, and (Q, min(k, G)) rows of the gallery, the best first. The right one is at its rank:
        behind the items that score the same.

    Raises:
        ValueError: As `ranks_by_cosine`.
    """
    k = min(k, gallery_GE.shape[0])
    found = [
        _first(scores, right, k) for scores, right in _cosines(queries_QE, gallery_GE, right_Q, max_scores)
    ]
    return Found(torch.cat([chunk.ranks for chunk in found]), torch.cat([chunk.first for chunk in found]))


def _first(scores_QG: torch.Tensor, right_Q: torch.Tensor, k: int) -> Found:
    """Rank one chunk of scores, which this overwrites."""
    ranks_Q1 = ranks(scores_QG, right_Q)[:, None]
    right_Q1 = right_Q[:, None]
    scores_QG.scatter_(1, right_Q1, -torch.inf)
    wrong_QK = scores_QG.topk(k, dim=1).indices  # the right item is inserted at its rank
    places_K = torch.arange(k, device=scores_QG.device)
    before_QK = (places_K - (places_K > ranks_Q1).long()).clamp(min=0)
    first_QK = torch.where(places_K == ranks_Q1, right_Q1, wrong_QK.gather(1, before_QK))
    return Found(ranks_Q1[:, 0].cpu(), first_QK.cpu())


def _cosines(
    queries_QE: torch.Tensor, gallery_GE: torch.Tensor, right_Q: torch.Tensor, max_scores: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield float32 cosines of some queries with the whole gallery, and their right items, chunk by chunk."""
    if queries_QE.ndim != 2 or gallery_GE.ndim != 2 or queries_QE.shape[1] != gallery_GE.shape[1]:
        raise ValueError(
            f"queries and gallery must be (Q, E) and (G, E) with the same E, "
            f"got {tuple(queries_QE.shape)} and {tuple(gallery_GE.shape)}"
        )
    if right_Q.shape != queries_QE.shape[:1]:
        raise ValueError(
            f"{queries_QE.shape[0]} queries need as many right items, got {tuple(right_Q.shape)}"
        )
    gallery_GE = unit(gallery_GE)
    queries_QE, right_Q = queries_QE.to(gallery_GE.device), right_Q.to(gallery_GE.device)
    n_rows = max(1, max_scores // max(1, gallery_GE.shape[0]))
    for queries, right in zip(torch.split(queries_QE, n_rows), torch.split(right_Q, n_rows), strict=True):
        yield unit(queries) @ gallery_GE.T, right


def unit(vectors_NE: torch.Tensor) -> torch.Tensor:
    """Scale (N, E) vectors to length 1, as float32; a zero vector stays zero."""
    return torch.nn.functional.normalize(vectors_NE.float(), dim=-1)


def hits_of_ranks(ranks_Q: torch.Tensor, k: int) -> torch.Tensor:
    """Return whether each rank (Q,) is among the first k; k must be 1 or more."""
    if k < 1:
        raise ValueError(f"`k` must be 1 or more, got {k}")
    return ranks_Q < k


def share(hits_Q: torch.Tensor) -> float:
    """Return the share of True in (Q,) bool; ValueError if Q is 0."""
    if hits_Q.numel() == 0:
        raise ValueError("a share needs at least one query, got none")
    return int(hits_Q.sum()) / hits_Q.numel()


class Interval(NamedTuple):
    """A two-sided 95 % interval."""

    low: float
    high: float


def wilson_interval(n_hits: int, n: int) -> Interval:
    """Return the 95 % interval of a share by Wilson's score method.

    Unlike the normal approximation it stays inside [0, 1] and is meaningful at 0 and at n hits, as for the
    miniature's R@10. Wilson (1927), "Probable inference, the law of succession, and statistical inference",
    with p = n_hits / n and z = 1.96.

    Raises:
        ValueError: Unless 0 <= n_hits <= n and n >= 1.
    """
    if not (n >= 1 and 0 <= n_hits <= n):
        raise ValueError(f"`0 <= n_hits <= n` and `n >= 1` must hold, got n_hits={n_hits}, n={n}")
    p = n_hits / n
    scale = 1 + Z_95**2 / n
    centre = (p + Z_95**2 / (2 * n)) / scale
    half = Z_95 / scale * math.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n**2))
    # At the ends the formula gives exactly 0 or 1, rounding apart.
    low = 0.0 if n_hits == 0 else centre - half
    high = 1.0 if n_hits == n else centre + half
    return Interval(low, high)


class Difference(NamedTuple):
    """How much larger the first share is than the second, with its 95 % interval."""

    difference: float
    low: float
    high: float


def paired_difference(first_Q: torch.Tensor, second_Q: torch.Tensor) -> Difference:
    """Compare two models on the same queries: the difference of their shares, with its 95 % interval.

    Both models find the same captions hard, so the paired interval is narrower than the two Wilson intervals
    suggest. It covers the choice of test queries, not the seed of training.

    Args:
        first_Q: (Q,) bool hits of one model.
        second_Q: (Q,) bool hits of the other, same queries in the same order.

    Returns:
        share(first) - share(second), and `tango_interval`.

    Raises:
        ValueError: If the two are not vectors of the same length, at least 1.
    """
    only_first, only_second, n = _discordant(first_Q, second_Q)
    return Difference((only_first - only_second) / n, *tango_interval(only_first, only_second, n))


def tango_interval(only_first: int, only_second: int, n: int) -> Interval:
    """Return the 95 % interval of a difference of paired shares by Tango's score method.

    The interval holds all differences that the score test does not reject, as Wilson's does for one share. It
    stays inside [-1, 1] and, unlike a bootstrap's, has a width if no query differs. Tango (1998),
    "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17, 891-908, with b = only_first, c = only_second and z = 1.96; the limits are
    found by bisection.

    Args:
        only_first: Queries that only the first model has right.
        only_second: Queries that only the second model has right.
        n: All queries.

    Raises:
        ValueError: Unless both are at least 0 and together at most n, and n is at least 1.
    """
    if not (n >= 1 and only_first >= 0 and only_second >= 0 and only_first + only_second <= n):
        raise ValueError(
            f"`only_first + only_second <= n` and `n >= 1` must hold, none below 0, "
            f"got only_first={only_first}, only_second={only_second}, n={n}"
        )
    difference = (only_first - only_second) / n

    def is_rejected(delta: float) -> bool:
        return _squared_score(only_first, only_second, n, delta) > Z_95**2

    return Interval(_limit(is_rejected, difference, -1.0), _limit(is_rejected, difference, 1.0))


def _squared_score(only_first: int, only_second: int, n: int, delta: float) -> float:
    """Return Tango's squared statistic for a true difference `delta` strictly between -1 and 1."""
    # The share of queries that only the second has right, by maximum likelihood under `delta`, solves
    # a q^2 + b q + c = 0. The larger root as 2 c / (-b - root) where b > 0: no digits are lost.
    a = 2 * n
    b = (2 * n - only_first + only_second) * delta - only_first - only_second
    c = -only_second * delta * (1 - delta)
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    q = (root - b) / (2 * a) if b <= 0 else -2 * c / (b + root)
    variance = n * (2 * q + delta * (1 - delta))
    distance = only_first - only_second - n * delta
    if variance <= 0:
        return math.inf if distance else 0.0
    return distance**2 / variance


def _limit(is_rejected: Callable[[float], bool], inside: float, end: float) -> float:
    """Bisect between a difference that is not rejected and an end of [-1, 1], which the limit may reach."""
    outside = end
    while True:
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            return middle
        if is_rejected(middle):
            outside = middle
        else:
            inside = middle


def lead_above_zero(first_Q: torch.Tensor, second_Q: torch.Tensor) -> float | None:
    """Return the least lead at which the interval of `paired_difference` lies above 0.

    At a difference of 0 Tango's statistic is McNemar's, (b - c) / sqrt(b + c): the needed lead depends only
    on the number of queries that differ. It needs at least 4, since with 3 it cannot pass 1.96.

    Args:
        first_Q: As of `paired_difference`.
        second_Q: As of `paired_difference`.

    Returns:
        The lead, as a difference of shares, for these models' number of differing queries; None for fewer
        than 4 queries.
    """
    only_first, only_second, n = _discordant(first_Q, second_Q)
    n_differing = only_first + only_second
    lead = max(4, math.floor(Z_95 * math.sqrt(n_differing)) + 1)
    lead += (lead - n_differing) % 2 if n_differing >= 4 else 0  # a lead is even where an even number differs
    return lead / n if lead <= n else None


def _discordant(first_Q: torch.Tensor, second_Q: torch.Tensor) -> tuple[int, int, int]:
    """Count the queries that only the first model has right, those of the second, and all."""
    if first_Q.ndim != 1 or first_Q.shape != second_Q.shape or not first_Q.numel():
        raise ValueError(
            f"hits must be two vectors of the same length, at least 1, "
            f"got {tuple(first_Q.shape)} and {tuple(second_Q.shape)}"
        )
    return int((first_Q & ~second_Q).sum()), int((second_Q & ~first_Q).sum()), first_Q.numel()


class MatchAt1:
    """``val/match@01`` of held-out pairs, prepared once and computed at every report.

    The share of Spanish sentences whose nearest teacher vector by cosine, among all held-out English
    sentences, is that of their own translation. Equal English sentences count as the same, and so do
    different ones to which the teacher gives the same vector but for rounding (CLIP reads "Hello" as
    "hello"): a nearest *vector* whose cosine to the right one is above `SAME_TARGET` is right.
    Chance is about 1 / N, so compare values only between equal N.
    It measures how well sentences are distinguished, not the distance to the teacher.

    Args:
        teachers_ND: (N, D) floating teacher vectors, row i of the English side of pair i; read once, kept
            as float32 of unit length without duplicates.
        english_ids: (N,) int64, equal where the English sentences are equal.

    Raises:
        ValueError: If the shapes disagree.
        InputError: If the vectors are not finite, or fewer than two differ (every student would be right).
    """

    def __init__(self, teachers_ND: torch.Tensor, english_ids: torch.Tensor) -> None:
        if teachers_ND.ndim != 2 or english_ids.shape != teachers_ND.shape[:1]:
            raise ValueError(
                f"teacher vectors (N, D) need ids (N,), "
                f"got {tuple(teachers_ND.shape)} and {tuple(english_ids.shape)}"
            )
        if not torch.isfinite(teachers_ND).all():
            raise InputError("targets of held-out pairs must be finite, got NaN or infinity")
        _, first_of_id, id_of_pair = np.unique(
            english_ids.cpu().numpy(), return_index=True, return_inverse=True
        )
        vectors = unit(teachers_ND[torch.from_numpy(first_of_id)].cpu())
        gallery_GD, vector_of_id = torch.unique(vectors, dim=0, return_inverse=True)
        if (gallery_GD[1:] @ gallery_GD[0] > SAME_TARGET).all():
            raise InputError(
                f"targets of held-out pairs must hold at least 2 different vectors, "
                f"got 1 in {teachers_ND.shape[0]:,} pairs"
            )
        self._gallery_GD = gallery_GD
        self._right_N = vector_of_id[torch.from_numpy(id_of_pair)]

    def hits(self, students_ND: torch.Tensor, max_scores: int = MAX_SCORES) -> torch.Tensor:
        """Return (N,) bool, whether each of the student vectors (N, D) matches.

        Args:
            students_ND: Floating, of any length; row i of the Spanish side of pair i.
            max_scores: As of `ranks_by_cosine`.
        """
        n_rows = max(1, max_scores // (2 * len(self._gallery_GD)))  # cosines to the right ones are scores too
        chunks = zip(
            torch.split(students_ND.detach().cpu(), n_rows), torch.split(self._right_N, n_rows), strict=True
        )
        return torch.cat([self._hits_of(students, right) for students, right in chunks])

    def _hits_of(self, students_ND: torch.Tensor, right_N: torch.Tensor) -> torch.Tensor:
        same_NG = self._gallery_GD[right_N] @ self._gallery_GD.T > SAME_TARGET
        same_NG.scatter_(1, right_N[:, None], value=True)  # a zero vector has no cosine to itself
        scores_NG = unit(students_ND) @ self._gallery_GD.T
        right = scores_NG.masked_fill(~same_NG, -torch.inf).amax(dim=1)
        wrong = scores_NG.masked_fill(same_NG, -torch.inf).amax(dim=1)
        hits: torch.Tensor = right > wrong  # ties and NaN go against the right ones
        return hits

    def __call__(self, students_ND: torch.Tensor) -> float:
        """Return the share of matches of student vectors (N, D), row i of the Spanish side of pair i."""
        return share(self.hits(students_ND))
