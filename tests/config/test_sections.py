from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from themo.config.sections import HIGHER_IS_BETTER, Objective, TrainingSettings


def test_a_section_cannot_be_changed() -> None:
    training = TrainingSettings()
    with pytest.raises(ValidationError, match="frozen"):
        training.seed = 3  # type: ignore[misc]


def test_every_objective_has_a_direction() -> None:
    assert set(HIGHER_IS_BETTER) == set(get_args(Objective))
