from __future__ import annotations

from typing import Any

import pytest

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.errors import InputError
from tune.driver import range_ends
from tune.driver.range_ends import refuse_unfit_ends
from tune.space.search_space import from_tree


def refuse(settings: Settings, data: TrainingData, **space: Any) -> None:
    refuse_unfit_ends(from_tree({"space": space}, settings, source="x.yaml"), settings, data)


def test_a_batch_larger_than_the_corpus_is_refused(tiny_settings: Settings, tiny_data: TrainingData) -> None:
    refuse(tiny_settings, tiny_data, batch_size={"integer": [16, 64]})
    with pytest.raises(InputError, match=r"^the search space: training\.batch_size must be at most the "):
        refuse(tiny_settings, tiny_data, batch_size={"integer": [16, 100_000]})


@pytest.mark.parametrize(
    "rule", [{"integer": [32, 64]}, {"integer": [32, 64], "step": 8}, {"log_integer": [32, 64]}]
)
def test_widths_between_good_ends_are_checked(
    tiny_settings: Settings, tiny_data: TrainingData, rule: dict[str, Any]
) -> None:
    """A head of the tiny backbone is 16 wide: 32 and 64 fit, as do all multiples of 16 between them."""
    base = tiny_settings.override({"backbone_weights": False})
    refuse(base, tiny_data, hidden_size={"integer": [32, 64], "step": 16})
    with pytest.raises(InputError) as refused:
        refuse(base, tiny_data, hidden_size=rule)
    assert str(refused.value) == (
        "the search space: student.hidden_size must be a multiple of the head width 16, "
        f"got {32 + rule.get('step', 1)}; hidden_size needs a `step` or a `choice` without such values"
    )


def test_few_values_of_a_long_range_are_checked(
    tiny_settings: Settings, tiny_data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check of each of 10,000 values would take seconds."""
    checked: list[int | None] = []
    monkeypatch.setattr(range_ends, "refuse_unfit", lambda s, _: checked.append(s.student.hidden_size))
    base = tiny_settings.override({"backbone_weights": False})
    refuse(base, tiny_data, hidden_size={"integer": [16, 160_016], "step": 16})
    assert checked == [16, 32, 160_016]


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
