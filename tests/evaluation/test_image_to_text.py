import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from themo.evaluation.image_to_text import ranks_of_own_captions


def test_the_best_own_caption_counts() -> None:
    """Image 0 points along x, image 1 along y; captions 0 and 1 describe image 0, caption 2 image 1."""
    images = torch.eye(2)
    captions = torch.tensor([[0.1, 1.0], [1.0, 0.3], [1.0, 0.5]])
    # image 0: own captions score 0.10 and 0.96, the wrong one 0.89: rank 0
    # image 1: its own caption scores 0.45, the wrong ones 0.995 and 0.29: rank 1
    assert ranks_of_own_captions(images, captions, [0, 0, 1]).tolist() == [0, 1]


def test_ties_count_against_the_own_captions() -> None:
    same = torch.ones(3, 2)
    assert ranks_of_own_captions(torch.ones(2, 2), same, [0, 0, 1]).tolist() == [1, 2]


def test_nan_counts_against_the_image() -> None:
    captions = torch.tensor([[torch.nan, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert ranks_of_own_captions(torch.eye(2), captions, [0, 0, 1]).tolist() == [1, 1]


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_chunks_agree_with_the_plain_definition(seed: int, max_scores: int) -> None:
    """An image is right at k if one of its captions is among the k best, as CLIP_benchmark has it."""
    generator = torch.Generator().manual_seed(seed)
    owners = [0, 0, 1, 2, 2, 2, 3]
    images, captions = torch.randn(4, 5, generator=generator), torch.randn(7, 5, generator=generator)
    ranks = ranks_of_own_captions(images, captions, owners, max_scores)
    scores = torch.nn.functional.normalize(images) @ torch.nn.functional.normalize(captions).T
    for image, row in enumerate(scores):
        order = [owners[i] for i in row.argsort(descending=True).tolist()]
        for k in (1, 2, 5):
            assert (ranks[image] < k) == (image in order[:k])


@pytest.mark.parametrize(
    ("owners", "message"),
    [([0, 0, 0], "image 1 has none"), ([0, 1], r"got \(3, 2\), \(2, 2\) and \(2,\)")],
)
def test_unfit_shapes_are_refused(owners: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ranks_of_own_captions(torch.eye(2), torch.ones(3, 2), owners)
