from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from themo.config.miniature import MiniatureRecipe
from themo.config.settings import load
from themo.errors import InputError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("corpus_pairs", 0),
        ("teacher_steps", 2.5),
        ("student_hidden", 40),
        ("colour", 1),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_a_recipe_refuses_impossible_sizes_and_unknown_names(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        MiniatureRecipe(**{field: value})


@pytest.mark.parametrize("field", ["teacher_learning_rate", "teacher_muon_learning_rate"])
@pytest.mark.parametrize(("number", "value"), [(".inf", "inf"), (".nan", "nan")])
def test_a_rate_that_is_not_finite_is_refused(tmp_path: Path, field: str, number: str, value: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"preset: miniature\nminiature: {{{field}: {number}}}\n")
    with pytest.raises(InputError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: miniature.{field}: must be a finite number, got {value}"
