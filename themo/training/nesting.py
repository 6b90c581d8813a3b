"""Nested widths: the loss of whole vectors plus the same loss of their first few values.

Matryoshka representation learning (Kusupati et al., 2022, https://arxiv.org/abs/2205.13147): the loss of
whole vectors plus the losses of their prefixes, each scaled as if it were whole. Prefixes are taken along
the principal axes of the targets (`themo.models.axes`). The student's own vectors stay in the teacher's
space, so whole vectors are used in the same way with and without nested widths.

Shape suffixes: B pairs of a batch, N pairs, D dimensions of the student, E of image space, K a width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from themo.checkpoints.versions import find_part
from themo.config.sections import LossSettings
from themo.data.dataset import TrainingData
from themo.models.axes import principal_axes, read_axes
from themo.training.losses import Loss
from themo.training.preconditions import refuse_wide


@dataclass(frozen=True)
class Nesting:
    """Nested widths of a run, with the principal axes of its targets.

    Attributes:
        widths: K, ascending, below E.
        weights: Factor of each width's loss.
        whole_weight: Factor of the loss of whole vectors.
        axes: (E, E) principal axes of the targets, in image space.
        to_image_space: Affine map from the student's vectors to image space, (D + 1, E); None: the identity.
    """

    widths: tuple[int, ...]
    weights: tuple[float, ...]
    whole_weight: float
    axes: Tensor
    to_image_space: Tensor | None

    @classmethod
    def of(cls, settings: LossSettings, data: TrainingData, resume: Path | None = None) -> Nesting | None:
        """Return the nesting of settings; None without nested widths.

        Args:
            settings: Settings of the loss, with the widths.
            data: Training data, whose targets determine the axes.
            resume: Version directory to resume, whose axes are used; None: a new run.

        Raises:
            InputError: A width is above the dimension, or the version's axes are damaged.
        """
        if settings.nested_widths is None:
            return None
        refuse_wide(settings, data)
        mapping = None
        if data.to_image_space is not None:
            mapping = torch.from_numpy(np.load(data.to_image_space, allow_pickle=False))
        axes = read_axes(find_part(resume, "student")) if resume is not None else None
        if axes is None:
            axes = principal_axes(data.train.targets, np.asarray(data.train.rows), mapping)
        weights = settings.nested_weights or (1.0,) * len(settings.nested_widths)
        by_width = dict(zip(settings.nested_widths, weights, strict=True))
        whole_weight = by_width.pop(len(axes), 1.0)
        return cls(tuple(by_width), tuple(by_width.values()), whole_weight, axes, mapping)

    def to(self, device: torch.device) -> Nesting:
        """Return the nesting with its tensors on a device."""
        mapping = None if self.to_image_space is None else self.to_image_space.to(device)
        return replace(self, axes=self.axes.to(device), to_image_space=mapping)

    def along_axes(self, vectors_ND: Tensor) -> Tensor:
        """Return vectors along the axes, (N, E): their first K values are the vector of width K."""
        if self.to_image_space is not None:
            vectors_ND = vectors_ND @ self.to_image_space[:-1] + self.to_image_space[-1]
        return vectors_ND @ self.axes


def nest(loss_of: Loss, nesting: Nesting) -> Loss:
    """Return a loss plus its values on the vectors of each width.

    Student and teacher vectors of width K are scaled to (K / E)^0.5 of the full teacher vector's length:
    their values are then as large as those of full vectors, which matters to `mse` alone. The terms are those
    of full vectors, and ``width32`` for the loss at width 32.
    """

    def loss(students_BD: Tensor, teachers_BD: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        whole, terms = loss_of(students_BD, teachers_BD)
        total = nesting.whole_weight * whole
        students_BE, teachers_BE = nesting.along_axes(students_BD), nesting.along_axes(teachers_BD)
        lengths_B1 = teachers_BE.norm(dim=1, keepdim=True)
        for width, weight in zip(nesting.widths, nesting.weights, strict=True):
            scale_B1 = lengths_B1 * (width / teachers_BE.shape[1]) ** 0.5
            value, _ = loss_of(
                scale_B1 * functional.normalize(students_BE[:, :width], dim=1),
                scale_B1 * functional.normalize(teachers_BE[:, :width], dim=1),
            )
            total = total + weight * value
            terms[width_name(width)] = value.detach()
        return total, terms

    return loss


def width_name(width: int) -> str:
    """Name a width in metrics: ``width32``."""
    return f"width{width}"
