"""Data parallelism: the ranks of torch.distributed, one device each, share every batch.

Every rank holds the whole student and the plan of all batches, processes its share of a batch, and applies
the same update from the sum of all gradients. A contrastive loss compares all pairs of a batch: every rank
computes it from the vectors of all ranks. A batch therefore gives the same gradient as on one device, and a
run the same student, except for rounding and dropout: every rank draws its own dropout masks.

A single process is a group of size 1, whose operations are identities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from themo.data.batches import Indices
from themo.process.devices import is_out_of_memory

T = TypeVar("T")

_BUCKET = 8 * 2**20
"""Values per all-reduce: amortises the cost of a call without a second copy of all gradients."""


class PeerLostError(ConnectionError):
    """Another process of the group has ended; training since the last checkpoint is lost."""


class Group:
    """The processes that train one student together.

    Attributes:
        rank: This process's number, from 0.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @classmethod
    def current(cls) -> Group:
        """The default group of torch.distributed; a group of this process without one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which validates, reports and saves."""
        return self.rank == 0

    def share(self, chosen: Indices) -> Indices:
        """This rank's pairs of a batch, every `size`-th one, so that lengths are alike on all ranks.

        If a batch has fewer pairs than ranks, the remaining ranks get its first pair with weight 0, so that
        they take part in all collective operations.
        """
        return chosen[self.rank :: self.size] if self.count(len(chosen)) else chosen[:1]

    def count(self, n_pairs: int) -> int:
        """Number of a batch's pairs in this rank's share."""
        return self._counts(n_pairs)[self.rank]

    def seed(self, seed: int, step: int) -> None:
        """Seed the random draws of a step for this rank alone, by seed, step and rank."""
        if self.size > 1:
            (state,) = np.random.SeedSequence([seed, step, self.rank]).generate_state(1)
            torch.manual_seed(int(state))

    def gather(self, values: Tensor, n_pairs: int) -> Tensor:
        """Gather the values of all ranks, (n_pairs, D), in the order of ranks; without gradient.

        Args:
            values: (B, D) values of this rank's `share`.
            n_pairs: Pairs of the whole batch.
        """
        if self.size == 1:
            return values
        counts = self._counts(n_pairs)
        padded = values.new_zeros(counts[0], *values.shape[1:])
        padded[: counts[self.rank]] = values[: counts[self.rank]]
        everyones = [torch.empty_like(padded) for _ in counts]
        _reach(lambda: dist.all_gather(everyones, padded))
        return torch.cat([part[:count] for part, count in zip(everyones, counts, strict=True)])

    def own(self, values: Tensor, n_pairs: int) -> Tensor:
        """Return this rank's rows of gathered values, (B, D); zeros for a pair of weight 0."""
        counts = self._counts(n_pairs)
        if not counts[self.rank]:
            return torch.zeros_like(values[:1])
        start = sum(counts[: self.rank])
        return values[start : start + counts[self.rank]]

    def add_up(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum of each scalar over all ranks."""
        if self.size == 1:
            return terms
        totals = torch.stack([value.float() for value in terms.values()])
        _reach(lambda: dist.all_reduce(totals))
        return dict(zip(terms, totals.unbind(), strict=True))

    def add_up_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace the gradients by their sum over all ranks."""
        if self.size == 1:
            return
        for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
            flat = parameters_to_vector(bucket)
            _reach(lambda flat=flat: dist.all_reduce(flat))  # type: ignore[misc]
            vector_to_parameters(flat, bucket)

    def from_first(self, ask: Callable[[], T]) -> T:
        """Return the result of `ask` on rank 0, on all ranks.

        torch.distributed pickles the result between the ranks of a run. It may contain tensors on the CPU,
        such as the axes of a `themo.training.nesting.Nesting`; only rank 0 then computes them.
        """
        if self.size == 1:
            return ask()
        answer = [ask() if self.is_first else None]
        _reach(lambda: dist.broadcast_object_list(answer))
        return answer[0]  # type: ignore[return-value]  # that of rank 0 now

    def _counts(self, n_pairs: int) -> list[int]:
        return [len(range(rank, n_pairs, self.size)) for rank in range(self.size)]


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(map(torch.numel, bucket)) >= _BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def _reach(collective: Callable[[], object]) -> None:
    """Run a collective operation.

    Raises:
        PeerLostError: The operation failed because another rank has ended.
    """
    try:
        collective()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise PeerLostError(f"another process of the trial has ended: {error}") from error
