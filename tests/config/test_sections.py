from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from themo.config.sections import HIGHER_IS_BETTER, MAX_SEED, DataSettings, Objective, TrainingSettings


def test_a_section_cannot_be_changed() -> None:
    training = TrainingSettings()
    with pytest.raises(ValidationError, match="frozen"):
        training.seed = 3  # type: ignore[misc]


def test_every_objective_has_a_direction() -> None:
    assert set(HIGHER_IS_BETTER) == set(get_args(Objective))


@pytest.mark.parametrize("seed", [2**63, 2**64, 10**40])
def test_a_seed_too_great_for_torch_is_refused(seed: int) -> None:
    with pytest.raises(ValidationError, match="seed"):
        TrainingSettings(seed=seed)


def test_the_greatest_seed_is_one_of_torch_and_numpy() -> None:
    seed = TrainingSettings(seed=MAX_SEED).seed
    torch.Generator().manual_seed(seed)
    np.random.default_rng([seed, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ("en", "en")}, "`columns` must name two different columns, got 'en' twice"),
        ({"columns": ("1", "2"), "image_column": "2"}, "`image_column` must be none of `columns`, got '2'"),
    ],
)
def test_a_column_cannot_be_read_twice(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataSettings(corpus=("pairs.tsv",), **settings)
