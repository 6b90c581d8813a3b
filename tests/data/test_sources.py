from pathlib import Path

import pytest
from tiny import SettingsFactory

from themo.data.sources import Sources
from themo.errors import InputError


def test_ordinary_names_stay_as_they_are(settings: SettingsFactory, tmp_path: Path) -> None:
    sources = Sources(settings())
    assert sources.resolve("dccuchile/bert") == "dccuchile/bert"
    assert sources.path(str(tmp_path), "data.corpus") == tmp_path
    assert not Path(settings().paths.cache_dir).exists()


def test_a_backbone_is_the_hubs_where_there_is_no_such_folder(
    settings: SettingsFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "beto").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    sources = Sources(settings())
    assert sources.backbone_repository("models/beto") is None
    assert sources.backbone_repository("owner/beto") == "owner/beto"


def test_a_folder_in_the_home_is_found(settings: SettingsFactory, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "pairs.tsv").touch()
    (tmp_path / "beto").mkdir()
    known = settings(corpus=["~/pairs.tsv"], backbone="~/beto", architecture="local-dir:~/beto")
    sources, backbone = Sources(known), known.student.backbone
    assert sources.path(known.data.corpus[0], "data.corpus") == tmp_path / "pairs.tsv"
    assert sources.resolve(backbone) == sources.backbone(backbone, weights=True) == str(tmp_path / "beto")
    assert sources.backbone_repository(backbone) is None
    assert sources.resolve(known.teacher.architecture) == f"local-dir:{tmp_path / 'beto'}"


def test_paths_have_no_parts_of_two_dots(settings: SettingsFactory, tmp_path: Path) -> None:
    """The parent of a link's target is the parent meant."""
    (tmp_path / "target" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "target" / "inner")
    (tmp_path / "target" / "named.tsv").symlink_to(tmp_path / "target" / "other")
    (tmp_path / "target" / "other").touch()
    found = Sources(settings()).path(f"{tmp_path}/link/../named.tsv", "data.corpus")
    assert found == tmp_path / "target" / "named.tsv"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nosuch.tsv",
            "data.corpus: no such file or folder: nosuch.tsv; known names: opus-100, talks, tatoeba, "
            "image-captions",
        ),
        ("/dev/null/pairs.tsv", "data.corpus: cannot be read: /dev/null/pairs.tsv: Not a directory"),
        ("a\0b", "data.corpus: cannot be read: a\0b: embedded null byte"),
        ("x" * 300, f"data.corpus: cannot be read: {'x' * 300}: File name too long"),
    ],
)
def test_missing_files_are_named_by_their_setting(settings: SettingsFactory, name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Sources(settings()).path(name, "data.corpus")
    assert str(caught.value) == message
