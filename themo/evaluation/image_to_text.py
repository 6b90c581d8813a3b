"""Ranks of image to text retrieval, where an image has one or more right captions.

Shape suffixes: T captions, I images, E embedding.

The published definition of recall@k: an image counts as right if at least one of its captions is among the k
best captions. CLIP_benchmark (``clip_benchmark/metrics/zeroshot_retrieval.py``) and big_vision
(``image_text_retrieval.py``) compute it so. Ties count against the right captions, as in
`themo.evaluation.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from themo.evaluation.metrics import MAX_SCORES, unit


def ranks_of_own_captions(
    images_IE: torch.Tensor,
    captions_TE: torch.Tensor,
    image_of_caption_T: Sequence[int],
    max_scores: int = MAX_SCORES,
) -> torch.Tensor:
    """Count, for each image, the captions of other images that are not scored below its best own one.

    Args:
        images_IE: (I, E) floating vectors of any length; computed in float32.
        captions_TE: (T, E) floating vectors of any length.
        image_of_caption_T: (T,) row of each caption's image.
        max_scores: Scores held at once; one image's scores are never split, so at least T.

    Returns:
        (I,) int64 ranks, 0 the best, on the CPU. A NaN among an image's scores counts against it.

    Raises:
        ValueError: The shapes disagree, or an image has no caption.
    """
    right_T = torch.as_tensor(image_of_caption_T, device=captions_TE.device)
    if right_T.shape != captions_TE.shape[:1] or images_IE.shape[1:] != captions_TE.shape[1:]:
        raise ValueError(
            f"captions (T, E) and images (I, E) need (T,) images of captions, "
            f"got {tuple(captions_TE.shape)}, {tuple(images_IE.shape)} and {tuple(right_T.shape)}"
        )
    without = set(range(len(images_IE))) - set(right_T.tolist())
    if without:
        raise ValueError(f"every image needs a caption, image {min(without)} has none")
    captions_TE = unit(captions_TE)
    n_rows = max(1, max_scores // len(captions_TE))
    ranks = []
    for start in range(0, len(images_IE), n_rows):
        scores_CT = unit(images_IE[start : start + n_rows].to(captions_TE.device)) @ captions_TE.T
        rows_C1 = torch.arange(start, start + len(scores_CT), device=scores_CT.device)[:, None]
        own_CT = right_T == rows_C1
        best_C1 = scores_CT.masked_fill(~own_CT, -torch.inf).amax(dim=1, keepdim=True)
        # "not below" instead of "above" covers ties and NaN
        ranks.append((~scores_CT.lt(best_C1) & ~own_CT).sum(dim=1).cpu())
    return torch.cat(ranks)
