import os
from pathlib import Path

import pytest

from themo.files.atomic import replace_folder, write_text


def test_write_text_replaces_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("one", "zwölf"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "two")
    assert path.read_text(encoding="utf-8") == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    for text in ("one", "two"):
        replace_folder(folder, lambda new, text=text: (new / text).touch())
        assert [path.name for path in folder.iterdir()] == [text]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    replace_folder(folder, lambda new: (new / "one").touch())
    with pytest.raises(ZeroDivisionError):
        replace_folder(folder, lambda new: (new / str(1 // 0)).touch())
    assert [path.name for path in folder.iterdir()] == ["one"]
    replace_folder(folder, lambda new: (new / "two").touch())
    assert list(tmp_path.iterdir()) == [folder]


def test_all_is_on_the_disk_before_the_old_folder_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, synced = tmp_path / "part", []
    replace_folder(folder, lambda new: (new / "one").touch())

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        assert (folder / "one").exists() or synced[-1] == tmp_path.name

    monkeypatch.setattr(os, "fsync", fsync)
    replace_folder(folder, lambda new: (new / "two").touch())
    assert synced == ["two", ".part.new", tmp_path.name]
