from pathlib import Path

import pytest

from themo.config.presets import preset_path, presets, space_path
from themo.errors import InputError


def test_the_presets_and_the_search_space_are_there() -> None:
    assert {"miniature", "vit-l-14-beto"} <= set(presets())
    assert space_path().is_file()
    assert space_path().stem not in presets()


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("miniature", "search"),
        ("vit-l-14-beto", "search-vit-l-14-beto"),
        ("siglip-beto", "search-vit-l-14-beto"),
    ],
)
def test_a_preset_uses_its_own_space_or_its_parents(preset: str, name: str, tmp_path: Path) -> None:
    assert space_path(presets()[preset]).stem == name
    own = tmp_path / f"{preset}.yaml"
    own.write_text("{}")
    assert space_path(own) == space_path(), "a file of the user's that is called like a preset"
    own.write_text(f"preset: {preset}")
    assert space_path(own).stem == name


def test_a_preset_by_any_path_uses_its_own_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = presets()["vit-l-14-beto"]
    link = tmp_path / "mine.yaml"
    link.symlink_to(preset)
    monkeypatch.chdir(preset.parent)
    for path in (Path(preset.name), Path("..", preset.parent.name, preset.name), link):
        assert space_path(path).stem == "search-vit-l-14-beto"


def test_a_misspelt_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"must be one of .* \(did you mean 'vit-l-14-beto'\?\)$"):
        preset_path("vit-l14-beto")
    with pytest.raises(InputError, match=r"^own.yaml: preset must be one of .*, got 7$"):
        preset_path(7, "own.yaml: preset")
