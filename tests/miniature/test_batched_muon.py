from __future__ import annotations

import torch
from torch import nn

from themo.miniature.batched_muon import BatchedMuon, orthogonalised

SHAPES = [(48, 16), (16, 48), (16, 16), (16, 48)]


def test_steps_equal_those_of_torch_up_to_bfloat16() -> None:
    random = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]
    theirs = [nn.Parameter(matrix.detach().clone()) for matrix in ours]
    start = [matrix.detach().clone() for matrix in ours]
    optimizers = [
        BatchedMuon(ours, lr=0.01, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(4):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = its.grad = torch.randn(mine.shape, generator=random)
        for optimizer in optimizers:
            optimizer.step()
    for mine, its, before in zip(ours, theirs, start, strict=True):
        moved, expected = (mine - before).flatten(), (its - before).flatten()
        assert torch.cosine_similarity(moved, expected, dim=0) > 0.9995
        torch.testing.assert_close(moved.norm(), expected.norm(), rtol=0.005, atol=0)


def test_singular_values_come_near_one() -> None:
    matrices = torch.randn(3, 16, 48, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrices).float())
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_a_zero_gradient_gives_no_update() -> None:
    matrix = nn.Parameter(torch.ones(4, 4))
    matrix.grad = torch.zeros(4, 4)
    BatchedMuon([matrix], lr=0.1, weight_decay=0.0).step()
    assert torch.equal(matrix.detach(), torch.ones(4, 4))
