"""Seeds and costs of a confirmation; whole plans are tested in `test_confirmed_searches.py`."""

from __future__ import annotations

import pytest
from searches import planned, searched, space_of

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


def test_a_run_of_seconds_costs_what_its_seconds_train() -> None:
    """A run ends with its seconds as the trial did, long before the last epoch."""
    study = searched([0.5, 0.9] + [0.1] * 30)
    for trial in study:
        trial.metrics |= {"epoch": 0.01, "training_seconds": 60.0}
    seconds = {"resource": "seconds", "trial_seconds": 60.0, "grace_share": 0.1}
    assert planned(study, space_of(**seconds)).seeds == (1, 2, 3, 4)
