"""Seeds of a confirmation; whole plans are tested in `test_confirmed_searches.py`."""

from __future__ import annotations

import pytest

from themo.config.sections import MAX_SEED
from tune.confirmation.plan import further_seeds


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ([0], (1, 2, 3)),
        ([5, 9], (10, 11, 12)),
        ([MAX_SEED - 3], (MAX_SEED - 2, MAX_SEED - 1, MAX_SEED)),
        ([MAX_SEED, 1], (0, 2, 3)),
    ],
)
def test_further_seeds_are_unused_and_within_bounds(used: list[int], expected: tuple[int, ...]) -> None:
    assert further_seeds(used, 3) == expected
