import os
from pathlib import Path

import pytest

from themo.files.atomic import put_in_place, replace_folder, unfinished, write_text


def test_write_text_replaces_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("one", "zwölf"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "one")

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        write_text(path, "two")
    assert path.read_text(encoding="utf-8") == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_write_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pid, synced = tmp_path / "a.txt", os.getpid(), []

    def fsync(_: int) -> None:
        synced.append(os.getpid())
        if len(synced) == 1:  # the other process writes before the first renames its file
            with monkeypatch.context() as other:
                other.setattr(os, "getpid", lambda: pid + 1)
                write_text(path, "theirs")
            assert path.read_text(encoding="utf-8") == "theirs"

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(path, "ours")
    assert synced == [pid, pid + 1]
    assert path.read_text(encoding="utf-8") == "ours"
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
    assert list(tmp_path.iterdir()) == [folder]  # half a folder would fill a disk further
    replace_folder(folder, lambda new: (new / "two").touch())
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("holds", [None, [], ["theirs"]])
def test_folder_in_place_without_replacing(tmp_path: Path, holds: list[str] | None) -> None:
    folder = tmp_path / "part"
    if holds is not None:
        folder.mkdir()
        for name in holds:
            (folder / name).touch()
    with unfinished(folder) as new:
        (new / "ours").touch()
        if holds:
            with pytest.raises(OSError, match="not empty"):
                put_in_place(new, folder, replace=False)
        else:
            put_in_place(new, folder, replace=False)
    assert [path.name for path in folder.iterdir()] == (holds or ["ours"])
    assert list(tmp_path.iterdir()) == [folder]


def test_unfinished_folder_of_a_killed_process_is_emptied(tmp_path: Path) -> None:
    (tmp_path / ".part.unfinished" / "below").mkdir(parents=True)
    with unfinished(tmp_path / "part") as new:
        assert not any(new.iterdir())
    assert not any(tmp_path.iterdir())


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
    assert synced == ["two", ".part.unfinished", tmp_path.name]
