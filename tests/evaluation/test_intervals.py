import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]

from themo.evaluation.intervals import (
    Z_95,
    lead_above_zero,
    paired_difference,
    tango_interval,
    wilson_interval,
)


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


def test_equal_models_need_a_lead_of_four() -> None:
    assert lead_above_zero(bools(5, 10), bools(5, 10)) == 0.4


def test_difference_refuses_other_lengths() -> None:
    for compare in (paired_difference, lead_above_zero):
        with pytest.raises(ValueError, match=r"same length, at least 1, got \(3,\) and \(4,\)"):
            compare(bools(1, 3), bools(1, 4))
