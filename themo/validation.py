"""Validation during training: held-out pairs, no images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from themo.batches import assemble, token_counts
from themo.dataset import EncodedPairs
from themo.devices import autocast
from themo.losses import Loss
from themo.metrics import MatchAt1
from themo.student import Student

BATCH = 256
"""Pairs a chunk, also of the validation loss, so that a contrastive one is the same for every batch size."""


class Validation:
    """Scores a student on held-out pairs.

    Args:
        pairs: The N held-out pairs.
        max_length: Tokens of a sentence that are read.
        device: Where the student is.
    """

    def __init__(self, pairs: EncodedPairs, max_length: int, device: torch.device) -> None:
        self._order = np.argsort(token_counts(pairs, max_length), kind="stable")
        self._batches = [
            assemble(pairs, self._order[start : start + BATCH], max_length).to(device)
            for start in range(0, len(pairs), BATCH)
        ]
        self._targets_ND = torch.empty(len(pairs), self._batches[0].targets.shape[1], device=device)
        self._targets_ND[self._order] = torch.cat([batch.targets for batch in self._batches])
        self._match = MatchAt1(self._targets_ND, torch.from_numpy(np.array(pairs.english_ids)))

    def __call__(self, student: Student, loss_of: Loss, dtype: torch.dtype) -> dict[str, float]:
        """``val/loss``, ``val/cosine`` (mean cosine to the own target) and ``val/match@01``.

        ``val/match@01`` is the share of Spanish sentences whose nearest teacher vector among all held-out
        English sentences is that of their own translation.
        """
        students_ND = self._encode(student, dtype)
        sums = [
            loss_of(s, t)[0].item() * len(s)
            for s, t in zip(students_ND.split(BATCH), self._targets_ND.split(BATCH), strict=True)
        ]
        return {
            "val/loss": sum(sums) / len(students_ND),
            "val/cosine": functional.cosine_similarity(students_ND, self._targets_ND).mean().item(),
            "val/match@01": self._match(students_ND),
        }

    @torch.no_grad()
    def _encode(self, student: Student, dtype: torch.dtype) -> Tensor:
        student.eval()
        students_ND = torch.empty_like(self._targets_ND)
        with autocast(self._targets_ND.device, dtype):
            parts = [student(batch.ids, batch.mask) for batch in self._batches]
        students_ND[self._order] = torch.cat(parts)
        student.train()
        return students_ND
