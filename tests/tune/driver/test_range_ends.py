from __future__ import annotations

from typing import Any

import pytest

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.errors import InputError
from tune.driver.range_ends import refuse_unfit_ends
from tune.space.search_space import from_tree


def refuse(settings: Settings, data: TrainingData, **space: Any) -> None:
    refuse_unfit_ends(from_tree({"space": space}, settings, source="x.yaml"), settings, data)


def test_a_batch_larger_than_the_corpus_is_refused(tiny_settings: Settings, tiny_data: TrainingData) -> None:
    refuse(tiny_settings, tiny_data, batch_size={"integer": [16, 64]})
    with pytest.raises(InputError, match=r"^the search space: training\.batch_size must be at most the "):
        refuse(tiny_settings, tiny_data, batch_size={"integer": [16, 100_000]})


@pytest.mark.parametrize(("widths", "refusal"), [([32, 64], ""), ([32, 45], "hidden_size")])
def test_a_conditional_width_is_checked_with_its_parent(
    tiny_settings: Settings, tiny_data: TrainingData, widths: list[int], refusal: str
) -> None:
    """Beside pretrained weights, which trials without a width have, the settings refuse every width."""
    space = {
        "backbone_weights": {"choice": [True, False]},
        "hidden_size": {"choice": widths, "when": {"backbone_weights": False}},
    }
    if not refusal:
        refuse(tiny_settings, tiny_data, **space)
        return
    with pytest.raises(InputError, match=refusal):
        refuse(tiny_settings, tiny_data, **space)


def test_settings_of_other_data_are_not_checked(tiny_settings: Settings, tiny_data: TrainingData) -> None:
    """A batch of 100,000 comes with other data only."""
    assert tiny_settings.data.max_pairs is None
    space = {
        "max_pairs": {"choice": [None, 100]},
        "batch_size": {"choice": [100_000], "when": {"max_pairs": 100}},
    }
    refuse(tiny_settings, tiny_data, **space)
