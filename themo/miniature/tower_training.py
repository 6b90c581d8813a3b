"""Updates of one of the teacher's towers: gradients, optimisers and learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from themo.config.miniature import MiniatureRecipe
from themo.miniature.batched_muon import BatchedMuon

LARGEST_NORM = 1.0
"""Greatest norm of a tower's gradient; a longer one is scaled down."""


class TowerTraining:
    """Trains a tower with the gradients of its vectors.

    Args:
        tower: Tower, changed in place.
        recipe: Steps and learning rates.
    """

    def __init__(self, tower: nn.Module, recipe: MiniatureRecipe) -> None:
        self._tower = tower
        self._optimizers = _optimizers(tower, recipe)
        self._schedules = [
            torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: _rate(step, recipe.teacher_warmup_steps, recipe.teacher_steps)
            )
            for optimizer in self._optimizers
        ]

    def update(self, outputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Make a step.

        Args:
            outputs: Results of the tower for a batch, with the graph.
            gradients: Gradients of the loss by each of `outputs`, in their shapes.
        """
        self._tower.zero_grad()
        torch.autograd.backward(outputs, gradients)
        torch.nn.utils.clip_grad_norm_(self._tower.parameters(), max_norm=LARGEST_NORM)
        for optimizer, schedule in zip(self._optimizers, self._schedules, strict=True):
            optimizer.step()
            schedule.step()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, so that results are equal on any number of cores.

    Small layers gain little from more threads, and on a busy machine two threads, which wait for each other
    at every layer, take several times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _optimizers(tower: nn.Module, recipe: MiniatureRecipe) -> list[torch.optim.Optimizer]:
    """Muon (https://kellerjordan.github.io/posts/muon) for the matrices of the blocks, AdamW for the rest.

    With as many steps of only AdamW, shapes and colours stay partly confused (EXPERIMENTS.md).
    """
    blocks, matrices, gains_and_biases = [], [], []
    for name, parameter in tower.named_parameters():
        if parameter.ndim < 2:
            gains_and_biases.append(parameter)
        elif "resblocks" in name:
            blocks.append(parameter)
        else:
            matrices.append(parameter)
    return [
        BatchedMuon(blocks, lr=recipe.teacher_muon_learning_rate, weight_decay=0.1),
        torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": gains_and_biases, "weight_decay": 0.0}],
            lr=recipe.teacher_learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        ),
    ]


def _rate(step: int, warmup_steps: int, steps: int) -> float:
    """Return the learning rate as a share of its peak: a linear warm-up, then half a cosine down to 0."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (1 + math.cos(math.pi * (step - warmup_steps) / max(steps - warmup_steps, 1))) / 2
