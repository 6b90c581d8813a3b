import pytest

from themo.errors import InputError
from themo.presets import preset_path, presets, space_path


def test_the_presets_and_the_search_space_are_there() -> None:
    assert {"miniature", "vit-l-14-beto"} <= set(presets())
    assert space_path().is_file()
    assert space_path().stem not in presets()


def test_a_misspelt_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"must be one of .* \(did you mean 'vit-l-14-beto'\?\)$"):
        preset_path("vit-l14-beto")
    with pytest.raises(InputError, match=r"^own.yaml: preset must be one of .*, got 7$"):
        preset_path(7, "own.yaml: preset")
