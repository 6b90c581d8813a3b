"""Batches of tokenised pairs, bucketed by length.

A sentence of 14 tokens padded to 77 costs five times as much. A batch holds sentences of nearly equal length
and is as wide as the longest: over an epoch the padding is at most ``batch_size * (longest - shortest)``
tokens in all, whatever the size of the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from themo.data.dataset import EncodedPairs

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """B pairs, L tokens wide.

    Attributes:
        ids: (B, L) int64.
        mask: (B, L) bool, True for real tokens; None if no token is padding.
        targets: (B, D) float32.
    """

    ids: Tensor
    mask: Tensor | None
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; on a GPU, copied from pinned memory without waiting."""
        if device.type == "cpu":
            return self
        ids, targets = (t.pin_memory().to(device, non_blocking=True) for t in (self.ids, self.targets))
        mask = None if self.mask is None else self.mask.pin_memory().to(device, non_blocking=True)
        return Batch(ids, mask, targets)


def token_counts(pairs: EncodedPairs, max_length: int) -> npt.NDArray[np.uint16]:
    """Return (N,) token counts after the cut to `max_length`."""
    return np.minimum(np.diff(pairs.offsets), max_length).astype(np.uint16)


def plan_epoch(
    lengths: npt.NDArray[np.uint16],
    batch_size: int,
    seed: int,
    epoch: int,
    parts: Sequence[tuple[int, float]] = (),
) -> list[Indices]:
    """Return an epoch's batches as indices of pairs: every pair once, in a random, repeatable order.

    With weights, a pair occurs as often as the integer part of its corpus's weight; the fraction of the
    weight adds a random share of the corpus, a different one in every epoch.

    Pairs are shuffled, sorted by length (stably, so that equal lengths stay shuffled), cut into batches, and
    the batches shuffled. Only the last of the sorted batches can be smaller than `batch_size`.

    Args:
        lengths: (N,) tokens of each sentence.
        batch_size: Pairs a batch.
        seed: Seed of the run.
        epoch: Number of the epoch; with `seed` it determines the order.
        parts: Pairs and weight of each corpus; empty: every pair once.
    """
    random = np.random.default_rng([seed, epoch])
    if all(weight == 1 for _, weight in parts):
        shuffled = random.permutation(len(lengths))
    else:
        shuffled = random.permutation(_weighted(parts, random))
    order = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def plan_steps(
    lengths: npt.NDArray[np.uint16],
    batch_size: int,
    seed: int,
    first: int,
    last: int,
    *,
    parts: Sequence[tuple[int, float]] = (),
) -> Iterator[Indices]:
    """Return the batches of a run's steps `first` to `last` - 1, epoch after epoch.

    The other arguments are those of `plan_epoch`.
    """
    plan, planned = plan_epoch(lengths, batch_size, seed, 0, parts), 0
    for step in range(first, last):
        epoch, position = divmod(step, len(plan))  # all epochs have the same number of batches
        if epoch != planned:
            plan, planned = plan_epoch(lengths, batch_size, seed, epoch, parts), epoch
        yield plan[position]


def _weighted(parts: Sequence[tuple[int, float]], random: np.random.Generator) -> Indices:
    chosen, start = [], 0
    for n, weight in parts:
        whole, rest = divmod(round(n * weight), n) if n else (0, 0)
        chosen += [np.arange(start, start + n)] * whole + [start + random.permutation(n)[:rest]]
        start += n
    return np.concatenate(chosen)


def assemble(pairs: EncodedPairs, chosen: Indices, max_length: int) -> Batch:
    """Return the pairs at some indices as one padded batch.

    A sentence longer than `max_length` is cut before the special tokens at its end.
    """
    starts = pairs.offsets[chosen]
    full = pairs.offsets[chosen + 1] - starts
    lengths = np.minimum(full, max_length)
    width = int(lengths.max())
    columns = np.arange(width)
    positions = starts[:, None] + columns
    if (full > max_length).any():
        in_suffix = columns >= (lengths - pairs.layout["suffix"])[:, None]
        positions = positions + np.where(in_suffix, (full - lengths)[:, None], 0)
    real = columns < lengths[:, None]
    ids = np.where(real, pairs.ids[np.where(real, positions, 0)].astype(np.int64), pairs.layout["pad"])
    mask = None if bool(real.all()) else torch.from_numpy(real)
    return Batch(torch.from_numpy(ids), mask, torch.from_numpy(pairs.targets.rows(pairs.rows[chosen])))
