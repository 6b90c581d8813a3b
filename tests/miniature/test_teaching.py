from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from themo.miniature.families import FAMILY, family_batch
from themo.miniature.scenes import SPLITS, World
from themo.miniature.teaching import contrastive_loss

WORLD = World(seed=0)


def test_loss_of_two_pairs_is_the_mean_of_four_logarithms() -> None:
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    rivals = torch.tensor([[False, True], [True, False]])
    # Scores of image i and text j at scale 2: [[1.2, 0], [1.6, 2]].
    rows = math.log(1 + math.exp(0 - 1.2)) + math.log(1 + math.exp(1.6 - 2))
    columns = math.log(1 + math.exp(1.6 - 1.2)) + math.log(1 + math.exp(0 - 2))
    loss = contrastive_loss(images, texts, torch.tensor(2.0), rivals)
    assert loss.item() == pytest.approx((rows + columns) / 4)


def test_loss_without_rivals_is_zero_and_has_finite_gradients() -> None:
    images = torch.nn.functional.normalize(
        torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    images.requires_grad_()
    loss = contrastive_loss(images, images.detach(), torch.tensor(10.0), torch.zeros(4, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()


def test_only_rivals_weigh() -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    pairs = torch.arange(4) // 2
    within = contrastive_loss(vectors, vectors, torch.tensor(5.0), pairs[:, None] == pairs)
    apart = [
        contrastive_loss(part, part, torch.tensor(5.0), torch.ones(2, 2, dtype=torch.bool))
        for part in (vectors[:2], vectors[2:])
    ]
    assert within.item() == pytest.approx((apart[0] + apart[1]).item() / 2)


def test_a_family_stays_in_training_with_one_number_a_meaning() -> None:
    scenes, contents, numbers = family_batch(WORLD, 100, 40, np.random.default_rng(0))
    assert len(scenes) == len(contents) == len(numbers) == 100 * (1 + len(FAMILY))
    pair = scenes.combination
    assert (WORLD.split_of[pair[:, 0], pair[:, 1]] == SPLITS.index("train")).all()
    assert len(set(contents)) == len(set(numbers.tolist()))
    families = numbers.reshape(-1, 100).T
    assert np.mean([len(set(family)) == 1 + len(FAMILY) for family in families]) > 0.8


def test_the_members_of_a_family_leave_the_same_out() -> None:
    _, contents, _ = family_batch(WORLD, 100, 40, np.random.default_rng(0))
    for i in range(100):
        family = contents[i::100]
        assert len({content.background is None for content in family}) == 1
        assert len({content.first.size is None for content in family}) == 1
    assert 0 < sum(content.background is None for content in contents) < len(contents)
    assert all(content.first.colour is not None for content in contents)
