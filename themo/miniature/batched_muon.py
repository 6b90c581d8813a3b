"""Muon for many small matrices: matrices of equal shape are orthogonalised together, in fewer products.

The arithmetic is that of `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, which handles one matrix
at a time and takes 1.7 to 2 times as long for the teacher's.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
"""Momentum of the gradients' running mean."""

STEPS = 5
A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of the Newton-Schulz iteration (https://kellerjordan.github.io/posts/muon)."""


class BatchedMuon(torch.optim.Optimizer):
    """Muon with Nesterov's momentum and decoupled weight decay.

    Args:
        matrices: Parameters of two dimensions.
        lr: Learning rate, scaled by 0.2 sqrt(longer side), which gives updates AdamW's size
            (https://arxiv.org/abs/2502.16982).
        weight_decay: Share of a matrix removed per step, relative to the learning rate.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        by_shape: dict[tuple[int, int], list[nn.Parameter]] = {}
        for matrix in matrices:
            rows, columns = matrix.shape
            by_shape.setdefault((min(rows, columns), max(rows, columns)), []).append(matrix)
        groups = [{"params": params} for params in by_shape.values()]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update every matrix by its gradient, which must exist."""
        for group in self.param_groups:
            matrices: list[Tensor] = group["params"]
            gradient = torch.stack([_wide(matrix.grad) for matrix in matrices if matrix.grad is not None])
            state = self.state[matrices[0]]  # of the group
            mean = state.setdefault("momentum_buffer", torch.zeros_like(gradient))
            mean.lerp_(gradient, 1 - MOMENTUM)
            updates = orthogonalised(gradient.lerp(mean, MOMENTUM))
            lr, (_, longer) = group["lr"], gradient.shape[1:]
            for matrix, update in zip(matrices, updates, strict=True):
                turned = update if matrix.shape == update.shape else update.T
                matrix.mul_(1 - lr * group["weight_decay"])
                matrix.add_(turned, alpha=-0.2 * longer**0.5 * lr)


def orthogonalised(matrices_NRC: Tensor) -> Tensor:
    """Return approximately the nearest semi-orthogonal matrices, with singular values near 1; bfloat16.

    Args:
        matrices_NRC: (N, R, C) with R at most C.
    """
    x_NRC = matrices_NRC.bfloat16()
    norm_N = torch.linalg.vector_norm(x_NRC, dim=(1, 2), keepdim=True)
    x_NRC = x_NRC / norm_N.clamp(min=1e-7)
    for _ in range(STEPS):
        gram_NRR = torch.bmm(x_NRC, x_NRC.mT)
        factor_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=B, alpha=C)
        x_NRC = torch.baddbmm(x_NRC, factor_NRR, x_NRC, beta=A)
    return x_NRC


def _wide(matrix: Tensor) -> Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
