"""The sequential paired test: its error rate by simulation, its interval by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from tune.confirmation.paired_test import CRITICAL_T, LEVEL, MAX_SEEDS, Lead, lead_after

N_TESTS = 4000
MOST_FALSE = LEVEL + 2.5 * math.sqrt(LEVEL * (1 - LEVEL) / N_TESTS)
"""The share of claims for equal settings exceeds this in 1 of 160 simulations if the test keeps its level."""

plans = pytest.mark.parametrize("n_planned", CRITICAL_T)


def share_of_claims(n_planned: int, lead: float, step: float = 0.0, seed: int = 0) -> float:
    """Share of simulated tests that claim a lead; noise of a standard deviation of 1 a score."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(N_TESTS, 2, n_planned))
    scores[:, 0] += lead
    if step:
        scores = np.round(scores / step) * step
    return float(np.mean([lead_after(*pair.tolist(), n_planned).is_above_chance for pair in scores]))


@plans
@pytest.mark.parametrize("step", [0.0, 0.3, 1.0], ids="step {:g}".format)
def test_equal_settings_are_claimed_better_in_at_most_5_percent(n_planned: int, step: float) -> None:
    """Scores may be shares of few captions: steps up to the noise itself."""
    assert share_of_claims(n_planned, 0.0, step) <= MOST_FALSE


def test_a_clear_lead_is_usually_found() -> None:
    assert share_of_claims(6, 3.0) > 0.95
    assert share_of_claims(4, 4.0) > 0.9


def test_a_worse_setting_is_hardly_ever_claimed_better() -> None:
    assert share_of_claims(6, -1.0) < 0.005


@plans
def test_all_looks_of_a_plan_share_one_level(n_planned: int) -> None:
    levels = [t.sf(critical, n - 1) for n, critical in CRITICAL_T[n_planned].items()]
    assert max(levels) <= LEVEL
    assert max(levels) - min(levels) < 0.0004  # critical values are rounded up
    assert max(CRITICAL_T[n_planned]) == n_planned


@plans
def test_the_level_is_the_quantile_of_the_smallest_p_value(n_planned: int) -> None:
    differences = np.random.default_rng(0).standard_normal((200_000, n_planned))
    p_values = []
    for n in CRITICAL_T[n_planned]:
        seen = differences[:, :n]
        p_values.append(t.sf(seen.mean(axis=1) / seen.std(axis=1, ddof=1) * math.sqrt(n), n - 1))
    level = np.quantile(np.min(p_values, axis=0), LEVEL)
    n_last = max(CRITICAL_T[n_planned])
    assert t.sf(CRITICAL_T[n_planned][n_last], n_last - 1) == pytest.approx(level, abs=0.001)


def test_the_interval_is_that_of_students_t() -> None:
    lead = lead_after([0.5, 0.7, 0.6], [0.1, 0.2, 0.3], 3)
    rounding = 0.1 / math.sqrt(6)  # the scores lie in steps of 0.1
    mean, half = 0.4, CRITICAL_T[3][3] * math.hypot(0.1, rounding) / math.sqrt(3)
    assert (lead.mean, lead.n_seeds) == (pytest.approx(mean), 3)
    assert (lead.low, lead.high) == (pytest.approx(mean - half), pytest.approx(mean + half))
    assert lead.is_above_chance


def test_before_the_first_look_there_is_no_interval() -> None:
    assert lead_after([], [], 4) == Lead()
    assert lead_after([0.5, 0.7], [0.25, 0.25], 4) == Lead(pytest.approx(0.35), 2)


def test_the_first_look_that_excludes_0_decides() -> None:
    ours, theirs = [1.0, 1.1, 1.05], [0.0, 0.1, 0.0]
    decided = lead_after(ours, theirs, 5)
    assert decided.is_above_chance
    assert lead_after([*ours, -9.0, -9.0], [*theirs, 9.0, 9.0], 5) == decided


def test_equal_differences_are_no_proof_of_no_spread() -> None:
    """One caption more of 1,000 with each seed: rounding alone may do that."""
    assert not lead_after([0.990, 0.991], [0.989, 0.990], 2).is_separated
    assert lead_after([0.990, 0.991], [0.950, 0.951], 2).is_above_chance


def test_equal_scores_have_no_interval() -> None:
    assert lead_after([1.0, 1.0], [1.0, 1.0], 2) == Lead(0.0, 2)


scores = st.floats(-1, 1).map(lambda x: round(x, 3))


@given(st.lists(st.tuples(scores, scores), max_size=MAX_SEEDS), st.sampled_from(sorted(CRITICAL_T)))
def test_the_other_side_sees_the_opposite(pairs: list[tuple[float, float]], n_planned: int) -> None:
    ours, theirs = [a for a, _ in pairs][:n_planned], [b for _, b in pairs][:n_planned]
    one, other = lead_after(ours, theirs, n_planned), lead_after(theirs, ours, n_planned)
    assert one.n_seeds == other.n_seeds
    assert one.is_above_chance == other.is_below_chance
    if one.mean is not None and other.mean is not None:
        assert one.mean == pytest.approx(-other.mean)
    assert (one.low is None) == (one.high is None)
