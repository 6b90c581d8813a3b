import errno
import os
from pathlib import Path

import numpy as np
import pytest
from tiny import write_picture

from themo.errors import InputError
from themo.image_search.pictures import find_pictures, printable, readable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("b.jpg", "a/c.PNG", "a/deeper/d.webp"):
        write_picture(tmp_path / "pictures" / name, random)
    return tmp_path / "pictures"


def names(folder: Path) -> list[str]:
    def never(error: OSError) -> None:
        raise error

    return [stamp.name for stamp in find_pictures(folder, never)]


def test_pictures_below_a_folder_by_name(folder: Path) -> None:
    assert names(folder) == ["a/c.PNG", "a/deeper/d.webp", "b.jpg"]


def test_other_kinds_and_hidden_ones_are_left_out(folder: Path) -> None:
    for name in ("notes.txt", "film.mp4", "jpg", ".hidden.jpg", ".thumbnails/e.jpg", "._b.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((folder / "b.jpg").read_bytes())
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    assert names(folder) == ["a/c.PNG", "a/deeper/d.webp", "b.jpg"]


def test_links_to_files_count_and_links_to_folders_do_not(folder: Path) -> None:
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "linked.jpg").symlink_to(folder / "b.jpg")
    (folder / "nowhere.jpg").symlink_to(folder / "nosuch.jpg")
    (folder / "itself.jpg").symlink_to(folder / "itself.jpg")
    assert names(folder) == ["a/c.PNG", "a/deeper/d.webp", "b.jpg", "linked.jpg"]


def test_unreadable_files_are_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "beyond.jpg").symlink_to(folder / "b.jpg" / "x.jpg")
    real = os.stat

    def stat(path: str, **options: bool) -> os.stat_result:  # root may look at all
        if Path(path).parent == folder / "a":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    told: list[OSError] = []
    assert [stamp.name for stamp in find_pictures(folder, told.append)] == ["a/deeper/d.webp", "b.jpg"]
    assert [(error.filename, error.strerror) for error in told] == [
        (str(folder / "a" / "c.PNG"), "Permission denied")
    ]


def test_a_stamp_changes_with_size_and_time(folder: Path) -> None:
    def stamps() -> set[object]:
        return set(find_pictures(folder, lambda _: None))

    first = stamps()
    assert stamps() == first
    path = folder / "b.jpg"
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
    assert len(stamps() - first) == 1


def test_a_path_that_is_no_folder_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"--images .*nosuch: must be a folder, it does not exist"):
        names(folder / "nosuch")
    with pytest.raises(InputError, match=r"--images .*b\.jpg: must be a folder, got a file"):
        names(folder / "b.jpg")


def test_names_that_are_no_utf8_and_names_that_move_the_cursor(folder: Path) -> None:
    odd = os.fsencode(folder) + b"/\xff\x1b[2J\xc3\xb1.jpg"
    os.rename(folder / "b.jpg", odd)  # noqa: PTH104 -- bytes
    name = names(folder)[-1]
    assert os.fsencode(name) == b"\xff\x1b[2J\xc3\xb1.jpg"
    assert readable(name) == "\ufffd\x1b[2Jñ.jpg"
    assert printable(name) == "\ufffd\ufffd[2Jñ.jpg"
