"""``val/match@01``: retrieval accuracy of a student among held-out sentences.

Shape suffixes: N held-out pairs, G different teacher vectors, D dimensions.
"""

from __future__ import annotations

import numpy as np
import torch

from themo.errors import InputError
from themo.evaluation.metrics import MAX_SCORES, share, unit

SAME_TARGET = 1 - 1e-4
"""Teacher vectors with a greater cosine are one sentence: half-precision copies differ by less."""


class MatchAt1:
    """``val/match@01`` of held-out pairs, prepared once and computed at every report.

    The share of Spanish sentences whose nearest teacher vector by cosine, among all held-out English
    sentences, is that of their own translation. Equal English sentences count as the same, and so do
    different ones with the same teacher vector up to rounding (CLIP reads "Hello" as "hello"): a nearest
    *vector* whose cosine to the right one is above `SAME_TARGET` is right. Chance is about 1 / N, so compare
    values only between equal N. It measures how well sentences are distinguished, not the distance to the
    teacher.

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
                f"targets of held-out pairs must contain at least 2 different vectors, "
                f"got 1 in {teachers_ND.shape[0]:,} pairs"
            )
        self._gallery_GD = gallery_GD
        self._right_N = vector_of_id[torch.from_numpy(id_of_pair)]

    def hits(self, students_ND: torch.Tensor, max_scores: int = MAX_SCORES) -> torch.Tensor:
        """Return (N,) bool, whether each of the student vectors (N, D) matches.

        Args:
            students_ND: Floating, of any length; row i of the Spanish side of pair i.
            max_scores: As in `ranks_by_cosine`.
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
