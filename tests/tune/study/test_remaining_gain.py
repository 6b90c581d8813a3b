from __future__ import annotations

import math

import numpy as np
import pytest
from ended_trials import a_space, a_study
from hypothesis import given
from hypothesis import strategies as st

from tune.space.search_settings import SearchSettings
from tune.study.limits import are_trials_done, early_end, wants_more
from tune.study.remaining_gain import RemainingGain, chance_of_gain, known_losses, remaining_gain

scores = st.lists(st.none() | st.floats(0, 1), max_size=30)
gains = st.floats(1e-4, 1)
chances = st.floats(0.01, 0.99)


EIGHT_ALIKE = [0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
"""Eight trials lead the ninth one by 0.1 each: S = 0.8; with a gain of 0.2, q = 0.8 ** 8."""
Q = 0.8**8


@pytest.mark.parametrize(
    ("searcher", "mode", "chance"),
    [
        ("random", "max", 3 * Q / (9 + 3 * Q)),
        ("quasi-random", "min", 3 * Q / (9 + 3 * Q)),
        ("tpe", "max", 3 * Q / (3 + 3 * Q)),
    ],
)
def test_the_chance_of_nine_trials_worked_out_by_hand(searcher, mode, chance):
    values = [value if mode == "max" else -value for value in EIGHT_ALIKE]
    search = SearchSettings(searcher=searcher, stop_gain=0.2, stop_chance=0.1)
    found = remaining_gain(a_study(values, mode), search, most=12)
    assert found == RemainingGain(pytest.approx(chance), 0.2, 0.1, 3)
    assert found.is_small == (chance < 0.1)


@pytest.mark.parametrize(
    "values",
    [
        EIGHT_ALIKE[:8],  # too few to have eight best ones and one below
        [*EIGHT_ALIKE[1:], None],  # a failed trial has no score
        [0.6] * 9,  # equal scores tell no distance
        [None] * 9,
    ],
)
def test_without_distances_the_order_of_trials_decides(values):
    losses = [math.inf if value is None else -value for value in values]
    assert chance_of_gain(losses, 3, 0.2, is_learning=False) == pytest.approx(3 / (len(losses) + 3))


def test_failed_trials_count_as_tried():
    study = a_study([*EIGHT_ALIKE, None, None, None])
    search = SearchSettings(searcher="random", stop_gain=0.2)
    found = remaining_gain(study, search, most=15)
    assert found is not None
    assert found.chance == pytest.approx(3 * Q / (12 + 3 * Q))


def test_nothing_is_known_before_the_best_trial_has_ended():
    study = a_study(EIGHT_ALIKE)
    search = SearchSettings(stop_gain=0.2)
    best = study.add({}).number
    study.report(best, {"pairs_seen": 1, "o": 0.9}, "o")
    for state in ("RUNNING", "PAUSED"):
        assert known_losses(study) == []
        assert remaining_gain(study, search, most=12).chance == 1.0, state
        study.finish(best, "PAUSED" if state == "RUNNING" else "PRUNED")
    assert len(known_losses(study)) == 10


def test_no_amount_or_no_trial_left_is_no_promise():
    study = a_study(EIGHT_ALIKE)
    assert remaining_gain(study, SearchSettings(), most=12) is None
    assert remaining_gain(study, SearchSettings(stop_gain=0.2), most=9) is None
    assert remaining_gain(a_study([]), SearchSettings(stop_gain=0.2), most=9).chance == 1.0


def test_a_search_that_hardly_gains_starts_no_more_trials():
    space = a_space(num_samples=11, searcher="random", stop_gain=0.2)
    study = a_study(EIGHT_ALIKE[:8])
    study.add({})
    assert wants_more(study, space)
    assert early_end(study, space) is None
    study.report(8, {"pairs_seen": 1, "o": 0.6}, "o")
    study.finish(8, "COMPLETE")
    assert early_end(study, a_space(num_samples=11)) is None
    assert wants_more(study, space.searched_by(stop_chance=0.01))
    assert not wants_more(study, space)
    assert are_trials_done(study, space)
    end = early_end(study, space)
    assert end is not None
    assert end.line("val/loss") == (
        "2 trials are left out: the chance of a gain above 0.2 in val/loss is 0.036, below 0.05"
    )
    assert end.to_json() == {
        "chance": pytest.approx(2 * Q / (9 + 2 * Q)),
        "stop_gain": 0.2,
        "stop_chance": 0.05,
        "trials_left_out": 2,
    }


@given(scores, gains, st.integers(1, 40), st.randoms(use_true_random=False))
def test_the_chance_is_a_function_of_the_scores(values, gain, n_left, random):
    losses = known_losses(a_study(values))
    found = chance_of_gain(losses, n_left, gain, is_learning=True)
    assert 0 <= found <= 1
    random.shuffle(losses)
    assert chance_of_gain(losses, n_left, gain, is_learning=True) == pytest.approx(found)
    assert chance_of_gain(losses, n_left + 1, gain, is_learning=True) >= found
    assert chance_of_gain(losses, n_left, 2 * gain, is_learning=True) <= found
    assert chance_of_gain(losses, n_left, gain, is_learning=False) <= found


@given(st.lists(st.none() | st.floats(0, 1), min_size=30, max_size=30), gains, gains, chances, chances)
def test_a_greater_chance_or_gain_never_ends_later(values, gain, other_gain, chance, other_chance):
    def n_begun(gain: float, chance: float) -> int:
        space = a_space(num_samples=30, stop_gain=gain, stop_chance=chance)
        return next((n for n in range(30) if not wants_more(a_study(values[:n]), space)), 30)

    low, high = sorted((chance, other_chance))
    assert n_begun(gain, high) <= n_begun(gain, low)
    small, large = sorted((gain, other_gain))
    assert n_begun(large, chance) <= n_begun(small, chance)


@pytest.mark.parametrize("gain", [0.05, 0.5])
def test_ended_random_searches_seldom_gain_more(gain):
    random, ended, gained = np.random.default_rng(0), 0, 0
    for _ in range(300):
        losses = (-random.exponential(size=32)).tolist()
        for n in range(1, 32):
            if chance_of_gain(losses[:n], 32 - n, gain, is_learning=False) < 0.2:
                ended += 1
                gained += min(losses[n:]) < min(losses[:n]) - gain
                break
    assert ended > 250
    assert gained / ended < 0.25  # 0.2, and two standard errors of 300 searches
