import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]
from sklearn.metrics import top_k_accuracy_score  # type: ignore[import-untyped]

from themo.errors import InputError
from themo.evaluation.metrics import (
    SAME_TARGET,
    Z_95,
    MatchAt1,
    find_by_cosine,
    hits_of_ranks,
    lead_above_zero,
    paired_difference,
    ranks,
    ranks_by_cosine,
    share,
    tango_interval,
    unit,
    wilson_interval,
)

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


@given(st.integers(1, 5000), st.data())
def test_wilson_equals_scipy(n: int, data: st.DataObject) -> None:
    n_hits = data.draw(st.integers(0, n))
    expected = binomtest(n_hits, n).proportion_ci(0.95, method="wilson")
    interval = wilson_interval(n_hits, n)
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= interval.low <= n_hits / n <= interval.high <= 1


def test_wilson_of_the_original_result() -> None:
    # R@1 0.481 of 1,000 captions: about two standard errors of 1.6 points to either side.
    assert wilson_interval(481, 1000) == pytest.approx((0.4502, 0.5120), abs=1e-4)


@pytest.mark.parametrize(("n_hits", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(n_hits: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got n_hits={n_hits}, n={n}"):
        wilson_interval(n_hits, n)


def bools(n_true: int, n: int) -> torch.Tensor:
    return torch.arange(n) < n_true


@pytest.mark.parametrize(
    ("only_first", "only_second", "n", "published"),
    [
        (9, 3, 32, "-0.027 to 0.390"),  # Tango (1998), table VII
        (1, 7, 21, "-0.517 to -0.026"),  # Fagerland, Lydersen and Laake (2014), airway hyper-responsiveness
        (3, 1, 14, "-0.1670 to 0.4327"),  # Tang, Ling, Ling and Tian (2010)
    ],
)
def test_tango_equals_published_intervals(only_first: int, only_second: int, n: int, published: str) -> None:
    n_digits = len(published.rpartition(".")[2])
    low, high = tango_interval(only_first, only_second, n)
    assert f"{low:.{n_digits}f} to {high:.{n_digits}f}" == published


@given(st.integers(1, 2000))
def test_tango_without_differing_queries_has_a_width(n: int) -> None:
    half = Z_95**2 / (n + Z_95**2)  # what Wilson gives for 0 hits of n, to both sides
    assert tango_interval(0, 0, n) == pytest.approx((-half, half))
    assert half == pytest.approx(wilson_interval(0, n).high)


@given(st.integers(1, 2000))
def test_tango_of_all_queries_differing_one_way_reaches_1(n: int) -> None:
    low = (n - Z_95**2) / (n + Z_95**2)
    assert tango_interval(n, 0, n) == pytest.approx((low, 1.0))
    assert tango_interval(0, n, n) == pytest.approx((-1.0, -low))


@st.composite
def discordant(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(1, 2000))
    only_first = draw(st.integers(0, n))
    return only_first, draw(st.integers(0, n - only_first)), n


@given(discordant())
def test_tango_holds_the_difference_and_mirrors(case: tuple[int, int, int]) -> None:
    only_first, only_second, n = case
    low, high = tango_interval(only_first, only_second, n)
    assert -1 <= low <= (only_first - only_second) / n <= high <= 1
    assert low < high
    assert tango_interval(only_second, only_first, n) == pytest.approx((-high, -low))


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.001, 0.001), (0.003, 0.001), (0.02, 0.01), (0.3, 0.25)])
@pytest.mark.parametrize("n", [100, 1000])
def test_tango_covers_the_true_difference(shares: tuple[float, float], n: int) -> None:
    """A percentile bootstrap covers 0.60 where queries rarely differ."""
    drawn = np.random.default_rng(0).multinomial(n, (*shares, 1 - sum(shares)), size=4000)
    intervals = {case: tango_interval(*case, n) for case in {(int(b), int(c)) for b, c, _ in drawn}}
    covered = [
        low <= shares[0] - shares[1] <= high for low, high in (intervals[b, c] for b, c, _ in drawn.tolist())
    ]
    assert np.mean(covered) > 0.93


@pytest.mark.parametrize(("only_first", "only_second", "n"), [(0, 0, 0), (-1, 0, 3), (0, -1, 3), (2, 2, 3)])
def test_tango_refuses_impossible_counts(only_first: int, only_second: int, n: int) -> None:
    message = f"got only_first={only_first}, only_second={only_second}, n={n}"
    with pytest.raises(ValueError, match=message):
        tango_interval(only_first, only_second, n)


def test_difference_is_paired() -> None:
    # 5 points apart on the same 1,000 queries: sure if the hits are nested, unsure if they are disjoint.
    nested = paired_difference(bools(500, 1000), bools(450, 1000))
    disjoint = paired_difference(bools(500, 1000), bools(450, 1000).flip(0))
    assert nested.difference == disjoint.difference == pytest.approx(0.05)
    assert nested.low > 0 > disjoint.low
    # Normal approximation of both: d +- 1.96 sqrt((share that differs - d^2) / n).
    for result, differ in ((nested, 0.05), (disjoint, 0.95)):
        half = 1.96 * math.sqrt((differ - 0.05**2) / 1000)
        assert result[1:] == pytest.approx((0.05 - half, 0.05 + half), abs=0.004)


def differing(only_first: int, only_second: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Hits of two models over n queries."""
    places = torch.arange(n)
    return places < only_first, (places >= only_first) & (places < only_first + only_second)


@given(discordant())
def test_lead_above_zero_is_where_the_interval_leaves_0(case: tuple[int, int, int]) -> None:
    only_first, only_second, n = case
    hits = differing(*case)
    needed = lead_above_zero(*hits)
    if needed is None:
        assert n < 4
        assert paired_difference(*hits).low <= 0
        return
    result = paired_difference(*hits)
    assert (result.low > 0) == (result.difference >= needed - 1e-12)
    n_differing = only_first + only_second
    if n_differing >= 4:  # the least lead exists, and is enough
        lead = round(needed * n)
        first = (n_differing + lead) // 2
        assert 2 * first - n_differing == lead
        assert paired_difference(*differing(first, n_differing - first, n)).low > 0
        assert paired_difference(*differing(first - 1, n_differing - first + 1, n)).low <= 0


def test_difference_refuses_other_lengths() -> None:
    for compare in (paired_difference, lead_above_zero):
        with pytest.raises(ValueError, match=r"same length, at least 1, got \(3,\) and \(4,\)"):
            compare(bools(1, 3), bools(1, 4))


def test_match_by_hand() -> None:
    teachers = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    students = torch.tensor([[5.0, 1.0], [1.0, 0.9], [-0.1, 0.0]])  # the second is nearer to the first
    matcher = MatchAt1(teachers, torch.tensor([0, 1, 2]))
    assert matcher.hits(students).tolist() == [True, False, True]
    assert matcher(students) == pytest.approx(2 / 3)


def test_match_takes_equal_english_sentences_as_one() -> None:
    # Pairs 0 and 2 have the same English sentence; own targets may yet differ there.
    teachers = torch.tensor([[1.0, 0.1], [0.0, 1.0], [1.0, 0.0]])
    students = torch.tensor([[1.0, -0.1], [0.0, 1.0], [1.0, 0.2]])
    assert MatchAt1(teachers, torch.tensor([7, 3, 7]))(students) == 1.0
    assert MatchAt1(teachers, torch.tensor([7, 3, 5]))(students) == pytest.approx(1 / 3)


def test_match_takes_sentences_with_equal_vectors_as_one() -> None:
    teachers = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float16)
    assert MatchAt1(teachers, torch.tensor([0, 1, 2]))(teachers) == 1.0


@pytest.mark.parametrize("max_scores", [1, 700, 10**9])
def test_match_merges_vectors_that_differ_by_rounding(max_scores: int) -> None:
    """A teacher reads two spellings of a sentence alike, in batches of different sizes."""
    generator = torch.Generator().manual_seed(0)
    single = torch.randn(50, 24, generator=generator).half()
    twins = single.clone()
    twins[torch.arange(50), torch.randint(24, (50,), generator=generator)] *= 1 + 2**-10
    assert not (single == twins).all(dim=1).any()
    matcher = MatchAt1(torch.cat([single, twins]), torch.arange(100))
    students = torch.cat([twins, single])  # each nearest to the other twin
    assert matcher.hits(students, max_scores).all()
    assert not matcher.hits(students.roll(1, dims=0), max_scores).any()
    close = single + 0.04 * torch.randn(50, 24, generator=generator)  # cosines of about 1 - 8e-4
    matcher = MatchAt1(torch.cat([single.float(), close]), torch.arange(100))
    assert not matcher.hits(torch.cat([close, single.float()]), max_scores).any()


def test_match_of_zero_vectors() -> None:
    """They have no direction in which to be found, and none is found in their stead."""
    teachers = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    matcher = MatchAt1(teachers, torch.arange(3))
    assert matcher.hits(torch.tensor([[-1.0, -1.0], [0.0, 2.0], [0.0, 0.0]])).tolist() == [True, True, False]


def test_match_of_a_collapsed_or_broken_student_is_no_success() -> None:
    matcher = MatchAt1(torch.eye(4), torch.arange(4))
    assert matcher(torch.ones(4, 4)) == 0.0
    assert matcher(torch.zeros(4, 4)) == 0.0
    assert matcher(torch.full((4, 4), NAN)) == 0.0


def test_match_refuses_targets_on_which_every_student_is_right() -> None:
    with pytest.raises(InputError, match="at least 2 different vectors, got 1 in 3 pairs"):
        MatchAt1(torch.ones(3, 2) + 1e-3 * torch.eye(3, 2), torch.arange(3))
    with pytest.raises(InputError, match="must be finite"):
        MatchAt1(torch.tensor([[1.0, NAN], [0.0, 1.0]]), torch.arange(2))
    with pytest.raises(ValueError, match=r"need ids \(N,\), got \(3, 3\) and \(2,\)"):
        MatchAt1(torch.eye(3), torch.arange(2))


@settings(max_examples=30)
@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 2**31))
def test_match_equals_the_definition(n: int, n_sentences: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.cat([torch.tensor([0, 1]), torch.randint(max(2, n_sentences), (n - 2,), generator=generator)])
    teachers = torch.randn(max(2, n_sentences), 3, generator=generator)[ids]
    students = torch.randn(n, 3, generator=generator)
    nearest = torch.nn.functional.cosine_similarity(students[:, None], teachers[None], dim=-1).argmax(dim=1)
    to_right = torch.nn.functional.cosine_similarity(teachers[nearest], teachers, dim=-1)
    expected = (to_right > SAME_TARGET).float().mean().item()
    assert MatchAt1(teachers, ids)(students) == pytest.approx(expected)
