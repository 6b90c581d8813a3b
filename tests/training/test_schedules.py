from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.training.schedules import learn_rate_at

Schedule = Literal["constant", "linear", "cosine"]


def rates(schedule: Schedule, warmup_steps: int, total_steps: int, peak: float = 1.0) -> list[float]:
    return [
        learn_rate_at(s, peak=peak, schedule=schedule, warmup_steps=warmup_steps, total_steps=total_steps)
        for s in range(total_steps)
    ]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1, 1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_by_hand(schedule: Schedule, expected: list[float]) -> None:
    assert rates(schedule, warmup_steps=2, total_steps=6) == pytest.approx(expected, abs=1e-6)


@given(
    st.sampled_from(["constant", "linear", "cosine"]),
    st.integers(0, 60),
    st.integers(1, 50),
    st.floats(1e-6, 1.0),
)
def test_shape(schedule: Schedule, warmup_steps: int, total_steps: int, peak: float) -> None:
    values = rates(schedule, warmup_steps, total_steps, peak)
    assert all(0 < value <= peak * (1 + 1e-12) for value in values)
    rise, rest = values[:warmup_steps], values[warmup_steps:]
    assert rise == sorted(rise)
    assert rest == sorted(rest, reverse=True)
    if rest:
        assert rest[0] == peak
