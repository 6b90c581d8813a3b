"""One update of the student, and the means of its losses."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from themo.batches import Batch
from themo.config import TrainingSettings
from themo.devices import autocast
from themo.losses import Loss
from themo.student import Student


def build_optimizer(student: nn.Module, config: TrainingSettings) -> torch.optim.Optimizer:
    """Fused Adam or AdamW; matrices decay, vectors (biases, layer norms) do not."""
    parameters = [p for p in student.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return optimizer(groups, lr=config.learn_rate, fused=True)


def update(
    student: Student,
    optimizer: torch.optim.Optimizer,
    loss_of: Loss,
    batch: Batch,
    rate: float,
    config: TrainingSettings,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """One update of the student; the loss and its terms, each a mean over the batch."""
    device = batch.ids.device
    sums: dict[str, Tensor] = {}
    for part in _parts(batch, config.accumulate):
        share = len(part.ids) / len(batch.ids)
        with autocast(device, dtype):
            vectors = student(part.ids, part.mask)
        loss, terms = loss_of(vectors, part.targets)
        (loss * share).backward()
        for name, value in {"loss": loss.detach(), **terms}.items():
            sums[name] = sums.get(name, 0) + value * share
    if config.clip_norm is not None:
        _clip(student, config.clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return sums


def _parts(batch: Batch, n: int) -> list[Batch]:
    if n == 1:
        return [batch]
    masks: list[Tensor | None] = (
        list(batch.mask.chunk(n)) if batch.mask is not None else [None] * len(batch.ids.chunk(n))
    )
    return [
        Batch(ids, mask, targets)
        for ids, mask, targets in zip(batch.ids.chunk(n), masks, batch.targets.chunk(n), strict=True)
    ]


def _clip(student: nn.Module, greatest: float) -> None:
    """Scale the gradient down to a norm; on a CPU without touching it where it is smaller already."""
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if norm.device.type != "cpu" or norm > greatest:
        torch._foreach_mul_(gradients, torch.clamp(greatest / (norm + 1e-6), max=1.0))


class RunningMeans:
    """Means over pairs of the loss and its terms since the last report, summed on the device."""

    def __init__(self) -> None:
        self._totals: dict[str, Tensor] = {}
        self._pairs = 0
        self._latest = torch.tensor(math.nan)
        self.last = math.nan
        """The loss of the last step that was looked at."""

    def add(self, terms: dict[str, Tensor], pairs: int) -> None:
        """Add a step: scalar tensors ``loss`` and its terms, each a mean over `pairs` pairs."""
        for name, value in terms.items():
            self._totals[name] = self._totals.get(name, 0) + value.double() * pairs
        self._pairs += pairs
        self._latest = terms["loss"]

    def check(self, step: int, rate: float) -> None:
        """Look at the loss, which on a GPU waits for it.

        Raises:
            FloatingPointError: A loss since the last look is not finite.
        """
        self.last = self._latest.item()
        if not math.isfinite(self._totals["loss"].item()):
            raise FloatingPointError(f"loss is {self.last} at step {step} (learn_rate={rate:.1e})")

    def take(self) -> dict[str, float]:
        """The means, and start anew."""
        means = {name: (total / self._pairs).item() for name, total in self._totals.items()}
        self._totals, self._pairs = {}, 0
        return means
