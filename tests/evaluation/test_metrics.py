import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score  # type: ignore[import-untyped]

from themo.evaluation.metrics import find_by_cosine, hits_of_ranks, ranks, ranks_by_cosine, share, unit

NAN = math.nan


def hits_at_k(scores_QG: torch.Tensor, right_Q: torch.Tensor, k: int) -> torch.Tensor:
    """Hits among items on axes of their own, of which a query's cosines are its scores over its length."""
    return hits_of_ranks(ranks_by_cosine(scores_QG, torch.eye(scores_QG.shape[1]), right_Q), k)


def share_at_k(scores_QG: torch.Tensor, right_Q: torch.Tensor, k: int) -> float:
    return share(hits_at_k(scores_QG, right_Q, k))


def test_recall_counts_each_caption_once() -> None:
    scores_TI = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])  # caption 1 misses
    image_of_text = torch.tensor([0, 1, 1])
    assert hits_at_k(scores_TI, image_of_text, k=1).tolist() == [True, False, True]
    assert share_at_k(scores_TI, image_of_text, k=1) == pytest.approx(2 / 3)
    assert share_at_k(scores_TI, image_of_text, k=2) == 1.0


def test_accuracy_by_hand() -> None:
    scores_IC = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [0.0, 0.5, 9.0]])
    class_of_image = torch.tensor([0, 1, 2, 0])  # ranks 0, 1, 2, 2
    assert [share_at_k(scores_IC, class_of_image, k) for k in (1, 2, 3)] == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("scores", "right", "rank"),
    [
        ([0.5, 0.5, 0.5], 0, 2),  # a model that says the same of everything must not score
        ([0.5, 0.5, 0.1], 1, 1),
        ([0.5, 0.4, 0.4], 0, 0),  # ties below the right one are no matter
        ([NAN, 0.4, 0.4], 0, 2),
        ([0.4, NAN, 0.1], 0, 1),
        ([NAN, NAN, NAN], 1, 2),
        ([-math.inf, -math.inf, 0.0], 0, 2),
    ],
)
def test_ties_and_nan_go_against_the_right_item(scores: list[float], right: int, rank: int) -> None:
    assert ranks(torch.tensor([scores]), torch.tensor([right])).tolist() == [rank]


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ([0, 2], r"right items must lie in 0..1, got 2"),
        ([0, -1], r"right items must lie in 0..1, got -1"),
        ([0], r"scores \(Q, G\) need right items \(Q,\), got \(2, 2\) and \(1,\)"),
    ],
)
def test_wrong_items_are_refused(right: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ranks(torch.eye(2), torch.tensor(right))


def test_no_item_to_look_at_is_refused() -> None:
    with pytest.raises(ValueError, match="`k` must be 1 or more, got 0"):
        share_at_k(torch.eye(2), torch.tensor([0, 1]), 0)


def test_recall_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one query"):
        share_at_k(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 1)


@st.composite
def scored(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    n_queries, n_items = draw(st.integers(1, 8)), draw(st.integers(3, 8))
    # Few different values: ties are the rule here.
    flat = draw(st.lists(st.integers(-2, 2), min_size=n_queries * n_items, max_size=n_queries * n_items))
    right = draw(st.lists(st.integers(0, n_items - 1), min_size=n_queries, max_size=n_queries))
    return torch.tensor(flat, dtype=torch.float32).view(n_queries, n_items), torch.tensor(right)


@given(scored(), st.integers(1, 7))
def test_equals_sklearn_when_ties_go_against_the_right_class(
    case: tuple[torch.Tensor, torch.Tensor], k: int
) -> None:
    scores_QG, right = case
    n_items = scores_QG.shape[1]
    if k >= n_items:
        k = n_items - 1
    # sklearn prefers the later of two equal columns: with the right one first, ties go against it.
    others = torch.stack(
        [torch.cat([row[i : i + 1], row[:i], row[i + 1 :]]) for row, i in zip(*case, strict=True)]
    )
    zeros = np.zeros(len(right), dtype=np.int64)
    expected = top_k_accuracy_score(zeros, others.numpy(), k=k, labels=np.arange(n_items))
    assert share_at_k(scores_QG, right, k) == pytest.approx(expected)


def test_equals_sklearn_without_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    scores_IC = torch.rand(300, 20, generator=generator)
    class_of_image = torch.randint(20, (300,), generator=generator)
    for k in (1, 5, 10):
        expected = top_k_accuracy_score(class_of_image.numpy(), scores_IC.numpy(), k=k, labels=np.arange(20))
        assert share_at_k(scores_IC, class_of_image, k) == pytest.approx(expected)


@given(scored(), st.randoms(use_true_random=False))
def test_recall_grows_with_k_reaches_1_and_ignores_order(
    case: tuple[torch.Tensor, torch.Tensor], random: Random
) -> None:
    scores_QG, right = case
    n_queries, n_items = scores_QG.shape
    recalls = [share_at_k(scores_QG, right, k) for k in range(1, n_items + 1)]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1.0
    items = torch.tensor(random.sample(range(n_items), n_items))
    queries = torch.tensor(random.sample(range(n_queries), n_queries))
    place_of_item = torch.argsort(items)
    shuffled = [
        share_at_k(scores_QG[queries][:, items], place_of_item[right[queries]], k)
        for k in range(1, n_items + 1)
    ]
    assert shuffled == recalls


@pytest.mark.parametrize("max_scores", [1, 50, 51, 7 * 50, 10**9])
def test_chunked_ranks_equal_whole_ones(max_scores: int) -> None:
    generator = torch.Generator().manual_seed(1)
    queries, gallery = torch.randn(23, 16, generator=generator), torch.randn(50, 16, generator=generator)
    right = torch.randint(50, (23,), generator=generator)
    whole = ranks(unit(queries) @ unit(gallery).T, right)
    chunked = ranks_by_cosine(queries * 7, gallery * 0.1, right, max_scores=max_scores)
    assert chunked.tolist() == whole.tolist()


def test_chunked_ranks_take_half_precision_and_zero_vectors() -> None:
    gallery = torch.eye(3, dtype=torch.float16)
    queries = torch.tensor([[0.1, 3.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.bfloat16)
    assert ranks_by_cosine(queries, gallery, torch.tensor([1, 1])).tolist() == [0, 2]


def test_chunked_ranks_refuse_other_widths_and_counts() -> None:
    with pytest.raises(ValueError, match=r"same E, got \(2, 3\) and \(4, 5\)"):
        ranks_by_cosine(torch.zeros(2, 3), torch.zeros(4, 5), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="2 queries need as many right items"):
        ranks_by_cosine(torch.zeros(2, 3), torch.zeros(4, 3), torch.tensor([0]))


def test_the_right_item_ranks_behind_equal_scores() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    right = torch.tensor([0, 2, 0])
    found = find_by_cosine(queries, gallery, right, k=3)
    assert found.ranks.tolist() == [1, 0, 3]
    assert found.first[0].tolist() == [1, 0, 3]
    assert found.first[1].tolist()[:2] == [2, 3]
    assert 0 not in found.first[2].tolist()  # its place is the fourth
    assert find_by_cosine(queries, gallery, right, k=9).first.shape == (3, 4)


@pytest.mark.parametrize("max_scores", [1, 64, 10**9])
def test_found_items_agree_with_the_ranks_in_any_chunks(max_scores: int) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, gallery = (torch.randn(n, 8, generator=generator) for n in (40, 30))
    right = torch.randint(30, (40,), generator=generator)
    found = find_by_cosine(queries, gallery, right, k=10, max_scores=max_scores)
    assert torch.equal(found.ranks, ranks_by_cosine(queries, gallery, right))
    order = (unit(queries) @ unit(gallery).T).argsort(dim=1, descending=True)
    assert torch.equal(found.first, order[:, :10])  # no scores tie here


def test_similarities_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    products: list[tuple[int, ...]] = []
    multiply = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda a, b: products.append(tuple(a.shape)) or multiply(a, b)
    )
    find_by_cosine(torch.eye(6), torch.eye(6), torch.arange(6), k=3, max_scores=12)
    assert products == [(2, 6)] * 3
