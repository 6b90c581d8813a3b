"""Validation during training: on held-out pairs and, where there are any, on images that no test uses."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from themo.checkpoints.versions import Metrics
from themo.data.batches import assemble, token_counts
from themo.data.dataset import CaptionedImages, EncodedPairs, TrainingData
from themo.evaluation.matching import MatchAt1
from themo.evaluation.metrics import hits_of_ranks, ranks_by_cosine, share
from themo.models.student import Student, evaluating
from themo.process.devices import autocast
from themo.training.losses import Loss
from themo.training.nesting import Nesting, width_name

BATCH = 256
"""Pairs a chunk, also of the validation loss, so that a contrastive one is the same for every batch size."""


class Validation:
    """Scores a student.

    Args:
        data: The held-out pairs, N, and the images.
        max_length: Greatest number of tokens of a sentence; further tokens are cut.
        device: Device of the student.
        nesting: Widths to score too, with tensors on the device; None: whole vectors only.
    """

    def __init__(
        self, data: TrainingData, max_length: int, device: torch.device, nesting: Nesting | None = None
    ) -> None:
        self._pairs = _Sentences(data.validation, max_length, device)
        self._nesting = nesting
        english_ids = torch.from_numpy(np.array(data.validation.english_ids))
        self._match = MatchAt1(self._pairs.vectors_NE, english_ids)
        self._match_of_width = {}
        if nesting is not None:
            targets_NE = nesting.along_axes(self._pairs.vectors_NE)
            self._match_of_width = {
                width: MatchAt1(targets_NE[:, :width], english_ids) for width in nesting.widths
            }
        self._retrieval = _Retrieval(data.images, max_length, device, nesting) if data.images else None

    @torch.no_grad()
    def __call__(self, student: Student, loss_of: Loss, dtype: torch.dtype) -> dict[str, float]:
        """``val/loss``, ``val/cosine``, ``val/match@01`` and, where there are images, ``val/retrieval@01``.

        ``val/cosine`` is the mean cosine to the own target. ``val/match@01`` is the share of Spanish
        sentences whose nearest teacher vector among all held-out English sentences is that of their own
        translation. ``val/retrieval@01`` is the retrieval@01 of `test`, on the validation images.
        ``val/width32/match@01`` and ``val/width32/retrieval@01`` are those of the vectors of width 32.
        """
        with evaluating(student):
            return self._measured(student, loss_of, dtype)

    def _measured(self, student: Student, loss_of: Loss, dtype: torch.dtype) -> dict[str, float]:
        targets_ND = self._pairs.vectors_NE
        students_ND = self._pairs.encode(student, dtype)
        sums = [
            loss_of(s, t)[0].item() * len(s)
            for s, t in zip(students_ND.split(BATCH), targets_ND.split(BATCH), strict=True)
        ]
        measured = {
            "val/loss": sum(sums) / len(students_ND),
            "val/cosine": functional.cosine_similarity(students_ND, targets_ND).mean().item(),
            "val/match@01": self._match(students_ND),
        }
        for width, match in self._match_of_width.items():
            along_NE = self._nesting.along_axes(students_ND)  # type: ignore[union-attr]  # it gave the widths
            measured[f"val/{width_name(width)}/match@01"] = match(along_NE[:, :width])
        if self._retrieval is not None:
            measured |= self._retrieval(student, dtype)
        return measured


class _Retrieval:
    """Text-to-image recall@1 of T captions among I images, by whole vectors and by those of each width."""

    def __init__(
        self, images: CaptionedImages, max_length: int, device: torch.device, nesting: Nesting | None
    ) -> None:
        self._nesting = nesting
        self._captions = _Sentences(images.captions, max_length, device)
        vectors = images.captions.targets
        self._images_IE = torch.from_numpy(next(vectors.chunks(len(vectors)))).to(device)
        self._image_of_caption_T = torch.from_numpy(np.array(images.captions.rows)).to(device)
        self._map: Tensor | None = None
        if images.to_image_space is not None:
            self._map = torch.from_numpy(np.load(images.to_image_space, allow_pickle=False)).to(device)

    def __call__(self, student: Student, dtype: torch.dtype) -> dict[str, float]:
        texts_TE = self._captions.encode(student, dtype)
        if self._map is not None:
            texts_TE = texts_TE @ self._map[:-1] + self._map[-1]
        measured = {"val/retrieval@01": self._recall(texts_TE, self._images_IE)}
        if self._nesting is not None:
            texts_TE, images_IE = texts_TE @ self._nesting.axes, self._images_IE @ self._nesting.axes
            for width in self._nesting.widths:
                recall = self._recall(texts_TE[:, :width], images_IE[:, :width])
                measured[f"val/{width_name(width)}/retrieval@01"] = recall
        return measured

    def _recall(self, texts_TE: Tensor, images_IE: Tensor) -> float:
        return share(hits_of_ranks(ranks_by_cosine(texts_TE, images_IE, self._image_of_caption_T), 1))


class _Sentences:
    """N sentences in batches of nearly equal length, and the vectors that they belong to."""

    def __init__(self, pairs: EncodedPairs, max_length: int, device: torch.device) -> None:
        self._order = np.argsort(token_counts(pairs, max_length), kind="stable")
        self._batches = [
            assemble(pairs, self._order[start : start + BATCH], max_length).to(device)
            for start in range(0, len(pairs), BATCH)
        ]
        self.vectors_NE = self._in_own_order([batch.targets for batch in self._batches])

    def encode(self, student: Student, dtype: torch.dtype) -> Tensor:
        """A student's vectors, (N, D) float32, in the sentences' own order."""
        with autocast(self.vectors_NE.device, dtype):
            return self._in_own_order([student(batch.ids, batch.mask) for batch in self._batches])

    def _in_own_order(self, parts: list[Tensor]) -> Tensor:
        sorted_ND = torch.cat(parts).float()
        own_ND = torch.empty_like(sorted_ND)
        own_ND[self._order] = sorted_ND
        return own_ND


def refuse_not_finite(measured: Metrics, step: int, rate: float) -> None:
    """Refuse validation metrics that are not finite, as after an update that broke the student.

    Raises:
        FloatingPointError: A metric is NaN or infinite.
    """
    broken = [f"{name} is {value}" for name, value in measured.items() if not math.isfinite(value)]
    if broken:
        raise FloatingPointError(f"{', '.join(broken)} at step {step} (learn_rate={rate:.1e})")
