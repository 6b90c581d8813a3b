import math

import pytest
import torch
from torch.nn import functional

from themo.training.losses import build_loss, cosine, infonce, mse


def vectors(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_mse_by_hand() -> None:
    students, teachers = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    assert mse(students, teachers).item() == pytest.approx((4 + 9) / 4)


def test_cosine_by_hand_and_blind_to_length() -> None:
    students, teachers = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[5.0, 0.0], [-1.0, 0.0]])
    assert cosine(students, teachers).item() == pytest.approx((0 + 1) / 2)
    assert cosine(7 * students, teachers).item() == pytest.approx(0.5)


def test_infonce_by_hand() -> None:
    # cosines: the own one is 1, the other 0; so -log(e^2 / (e^2 + 1)) at temperature 0.5
    vectors_BD = torch.eye(2)
    expected = -math.log(math.exp(2) / (math.exp(2) + 1))
    assert infonce(vectors_BD, vectors_BD, temperature=0.5).item() == pytest.approx(expected)


def test_infonce_is_cross_entropy_where_all_targets_differ() -> None:
    students, teachers = vectors(5, 8, 0), vectors(5, 8, 1)
    logits = functional.cosine_similarity(students[:, None], teachers[None], dim=2) / 0.1
    expected = functional.cross_entropy(logits, torch.arange(5))
    torch.testing.assert_close(infonce(students, teachers, temperature=0.1), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_infonce_takes_no_copy_of_the_own_target_as_negative(dtype: torch.dtype) -> None:
    """Parallel corpora repeat English sentences: their other translations are right answers too."""
    students, teachers = vectors(4, 8, 0), vectors(4, 8, 1)
    teachers[3] = (2 * teachers[1]).to(dtype).float()  # a copy, but for its length and rounding
    scores = functional.cosine_similarity(students[:, None], teachers[None], dim=2) / 0.1
    negatives = {0: [1, 2, 3], 1: [0, 2], 2: [0, 1, 3], 3: [0, 2]}
    expected = torch.stack(
        [scores[i, [i, *others]].logsumexp(0) - scores[i, i] for i, others in negatives.items()]
    )
    torch.testing.assert_close(infonce(students, teachers, temperature=0.1), expected.mean())


def test_infonce_of_one_sentence_is_zero_with_zero_gradient() -> None:
    students = vectors(3, 4, 0).requires_grad_()
    loss = infonce(students, torch.ones(3, 4), temperature=0.05)
    loss.backward()
    assert loss.item() == 0
    assert students.grad is not None
    assert students.grad.abs().max() == 0


def test_mix_is_the_weighted_sum_and_names_its_terms() -> None:
    students, teachers = vectors(4, 6, 0), vectors(4, 6, 1)
    total, terms = build_loss("0.5*mse+cosine+2*infonce", temperature=0.2)(students, teachers)
    assert list(terms) == ["mse", "cosine", "infonce"]
    torch.testing.assert_close(terms["infonce"], infonce(students, teachers, 0.2))
    torch.testing.assert_close(total, 0.5 * terms["mse"] + terms["cosine"] + 2 * terms["infonce"])


@pytest.mark.parametrize("mixture", ["mse", "cosine", "infonce"])
def test_shapes_are_checked(mixture: str) -> None:
    loss = build_loss(mixture, temperature=0.1)
    with pytest.raises(ValueError, match=r"must both be \(B, D\), got \(2, 3\) and \(2, 4\)"):
        loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"must both be \(B, D\), got \(3,\) and \(3,\)"):
        loss(torch.zeros(3), torch.zeros(3))
