"""Updates of the student, and running means of its losses."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from themo.data.batches import Batch
from themo.errors import reason_of
from themo.models.student import Student
from themo.process.devices import autocast, is_out_of_memory
from themo.training.adam import Adam
from themo.training.distributed import Group
from themo.training.losses import Loss

T = TypeVar("T")

logger = logging.getLogger(__name__)


def build_optimizer(student: nn.Module, name: Literal["adam", "adamw"], weight_decay: float) -> Adam:
    """Adam or AdamW; matrices decay, vectors (biases, layer norms) do not.

    `Updater` sets the learning rate at each step.
    """
    parameters = [p for p in student.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return Adam(groups, decoupled=name == "adamw")


class Updater:
    """Updates a student with one batch at a time.

    Settings may split a batch into microbatches. If the device runs out of memory, their number doubles until
    they fit, for the rest of the run. Microbatches give the gradient of the batch except for rounding and
    other dropout masks. Gradients of a mean over pairs add up. A contrastive loss compares all pairs of a
    batch: it is computed from all vectors, encoded per microbatch without graphs, and its gradient is
    propagated through each microbatch, encoded again (gradient caching: Gao et al., 2021,
    https://arxiv.org/abs/2101.06983). This costs one more forward pass. Each rank splits its own share of the
    batch.

    Args:
        student: Student, changed in place.
        optimizer: Optimiser of the student's parameters.
        loss_of: Loss to minimise.
        dtype: Dtype of matrix products.
        contrastive: Whether the loss compares pairs of a batch.
        clip_norm: Greatest norm of the gradient; None: no limit.
        parts: Initial number of microbatches.
        compiled: Whether torch.compile translates the student.
        group: The processes that train together; None: this process.
    """

    def __init__(
        self,
        student: Student,
        optimizer: Adam | torch.optim.Optimizer,
        loss_of: Loss,
        dtype: torch.dtype,
        *,
        contrastive: bool,
        clip_norm: float | None = None,
        parts: int = 1,
        compiled: bool = False,
        group: Group | None = None,
    ) -> None:
        self._student = student
        # of any shape: batches differ in sentences and in length
        self._forward: Callable[..., Any] = torch.compile(student, dynamic=True) if compiled else student
        self._optimizer = optimizer
        self._loss_of = loss_of
        self._contrastive = contrastive
        self._clip_norm = clip_norm
        self._dtype = dtype
        self._group = group or Group()
        self.parts = parts

    def __call__(self, batch: Batch, rate: float, n_pairs: int | None = None) -> dict[str, Tensor]:
        """Update the student; return the loss and its terms, each a mean over the batch.

        Args:
            batch: The batch, or this process's share of it.
            rate: Learning rate.
            n_pairs: Pairs of the batch over all processes; None: those of `batch`.
        """
        terms = self._gradient(batch, n_pairs or len(batch.ids))
        if self._clip_norm is not None:
            _clip(self._student, self._clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return terms

    def _gradient(self, batch: Batch, n_pairs: int) -> dict[str, Tensor]:
        if not self._contrastive:
            terms = self._fitting(batch, partial(self._add_gradients, n_pairs))
            terms = self._group.add_up(terms)
        elif self._group.size > 1:  # each rank splits its own share, between the exchanges of vectors
            terms = self._add_cached_gradients(batch, n_pairs, partial(self._fitting, batch))
        else:
            terms = self._fitting(
                batch, lambda parts: self._add_cached_gradients(batch, n_pairs, lambda work: work(parts))
            )
        self._group.add_up_gradients(self._student.parameters())
        return terms

    def _fitting(self, batch: Batch, work: Callable[[list[Batch]], T]) -> T:
        """Return the result of `work` on a batch's microbatches, halved until they fit the device."""
        random = _RandomState(batch.ids.device)
        while True:
            try:
                return work(_parts(batch, self.parts))
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.parts >= len(batch.ids):
                    raise
            # after the exception, whose frames hold the graph
            self._optimizer.zero_grad()
            torch.cuda.empty_cache()
            random.restore()
            self.parts = min(2 * self.parts, len(batch.ids))
            logger.warning(
                "A batch of %d pairs does not fit into device memory: split into %d microbatches",
                len(batch.ids),
                self.parts,
            )

    def _add_gradients(self, n_pairs: int, parts: list[Batch]) -> dict[str, Tensor]:
        counts = self._group.count(n_pairs) > 0
        sums: dict[str, Tensor] = {}
        for part in parts:
            share = len(part.ids) / n_pairs if counts else 0.0
            loss, terms = self._loss_of(self._vectors(part), part.targets)
            (loss * share).backward()
            for name, value in {"loss": loss.detach(), **terms}.items():
                sums[name] = sums.get(name, 0) + value * share
        return sums

    def _add_cached_gradients(
        self, batch: Batch, n_pairs: int, on_parts: Callable[[Callable[[list[Batch]], Any]], Any]
    ) -> dict[str, Tensor]:
        """Add the gradients of a contrastive loss; an unsplit share is encoded once.

        Args:
            batch: The batch, or this process's share of it.
            n_pairs: Pairs of the batch over all processes.
            on_parts: Calls a function with the microbatches of `batch` and returns its result.
        """
        group, random = self._group, _RandomState(batch.ids.device)
        own_BD: Tensor = on_parts(self._vectors_of_parts)
        graph_BD = own_BD if own_BD.requires_grad else None
        own_BD = own_BD.detach()
        vectors_BD = group.gather(own_BD, n_pairs).requires_grad_()
        loss, terms = self._loss_of(vectors_BD, group.gather(batch.targets, n_pairs))
        (gradient_BD,) = torch.autograd.grad(loss, vectors_BD)
        gradient_BD = group.own(gradient_BD, n_pairs)

        def backpropagate(parts: list[Batch]) -> None:
            nonlocal graph_BD
            if graph_BD is not None:
                whole_BD, graph_BD = graph_BD, None  # used once: a retry computes the microbatches again
                whole_BD.backward(gradient_BD)
                return
            random.restore()  # equal dropout masks in both passes, unless the share was split between
            sizes = [len(part.ids) for part in parts]
            for part, gradient in zip(parts, gradient_BD.split(sizes), strict=True):
                self._vectors(part).backward(gradient)

        on_parts(backpropagate)
        return {"loss": loss.detach(), **terms}

    def _vectors_of_parts(self, parts: list[Batch]) -> Tensor:
        """Vectors of all microbatches; with their graph if there is only one."""
        with torch.set_grad_enabled(len(parts) == 1):
            return torch.cat([self._vectors(part) for part in parts])

    def _vectors(self, part: Batch) -> Tensor:
        with autocast(part.ids.device, self._dtype):
            try:
                vectors: Tensor = self._forward(part.ids, part.mask)
            except Exception as error:  # the compiler's own, and those of the tools that it calls
                if self._forward is self._student or is_out_of_memory(error):
                    raise
                logger.warning("torch.compile cannot compile the student: %s", reason_of(error))
                self._forward = self._student
                vectors = self._forward(part.ids, part.mask)
        return vectors


class _RandomState:
    """Snapshot of torch's random state."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


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
    """Scale the gradient down to a norm; on a CPU a smaller gradient is not touched."""
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if norm.device.type != "cpu" or norm > greatest:
        torch._foreach_mul_(gradients, torch.clamp(greatest / (norm + 1e-6), max=1.0))


class RunningMeans:
    """Means over pairs of the loss and its terms since the last report, summed on the device."""

    def __init__(self) -> None:
        self._totals: dict[str, Tensor] = {}
        self._pairs = 0
        self._unchecked: list[tuple[Tensor, float]] = []
        self.last = math.nan
        """The loss at the last check."""

    def add(self, terms: dict[str, Tensor], pairs: int, rate: float) -> None:
        """Add a step.

        Args:
            terms: Scalar tensors ``loss`` and its terms, each a mean over the pairs.
            pairs: Number of pairs.
            rate: Learning rate, for the message of `check`.
        """
        for name, value in terms.items():
            self._totals[name] = self._totals.get(name, 0) + value.double() * pairs
        self._pairs += pairs
        self._unchecked.append((terms["loss"], rate))

    def check(self, step: int) -> None:
        """Check the losses since the last check, up to this step; on a GPU this synchronises.

        Raises:
            FloatingPointError: A loss is not finite; the message names the first one and its step.
        """
        unchecked, self._unchecked = self._unchecked, []
        if not unchecked:
            return
        self.last = unchecked[-1][0].item()
        if math.isfinite(self._totals["loss"].item()):
            return
        for number, (loss, rate) in enumerate(unchecked, start=step - len(unchecked) + 1):
            if not math.isfinite(loss.item()):
                raise FloatingPointError(f"loss is {loss.item()} at step {number} (learn_rate={rate:.1e})")

    def take(self) -> dict[str, float]:
        """Return the means, and reset them."""
        means = {name: (total / self._pairs).item() for name, total in self._totals.items()}
        self._totals, self._pairs = {}, 0
        return means
