"""Metrics on tensors: ranks of the right answers, recall and accuracy.

Shape suffixes: T texts, I images, C classes, Q queries, G gallery, E embedding.

Retrieval is text to image: a caption has one right image, several captions may share it. With two images
and three captions, ``image_of_text = [0, 1, 1]`` says that captions 1 and 2 both describe image 1.
``recall@k`` is the share of *captions* whose right image is among the k best, so every caption counts once.

Ties count against the right answer: an image with the same score as the right one ranks before it. So a model
that gives everything the same score gets 0, not 1, and a NaN never counts as a hit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

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
        queries_QE: As in `ranks_by_cosine`.
        gallery_GE: As in `ranks_by_cosine`.
        right_Q: As in `ranks_by_cosine`.
        k: Number of items, at most G.
        max_scores: As in `ranks_by_cosine`.

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
