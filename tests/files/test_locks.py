import fcntl
import os
import threading
from pathlib import Path

import pytest

from themo.files import locks
from themo.files.locks import alone, is_locked, open_locked, try_lock


def test_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    held = try_lock(path)
    assert held is not None
    assert is_locked(path)
    assert try_lock(path) is None
    thread = threading.Thread(target=held.release)  # as of a search that a program runs in a thread
    thread.start()
    thread.join()
    assert not is_locked(path)
    with alone(path, "never printed"):
        assert is_locked(path)
    assert not is_locked(path)


@pytest.mark.parametrize("name", ["nosuch", "file/nosuch"])
def test_missing_lock_file_is_not_locked_nor_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    assert not is_locked(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_long_wait_for_a_lock_is_announced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SECONDS_OF_SILENCE", 0.0)
    other, told = try_lock(tmp_path / ".lock"), []
    assert other is not None

    def let_go(text: str) -> None:
        told.append(text)
        other.release()

    monkeypatch.setattr(locks.console, "print", let_go)
    with alone(tmp_path / ".lock", "x: another process is at it; waiting"):
        assert is_locked(tmp_path / ".lock")
    assert told == ["x: another process is at it; waiting"]


def test_lock_is_released_where_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), alone(tmp_path / ".lock", ""):
        print(1 / 0)
    assert not is_locked(tmp_path / ".lock")


def test_an_open_file_is_locked_until_its_descriptor_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    path.write_text("its content")
    held = open_locked(path)
    assert held is not None
    assert path.read_text() == "its content"
    assert open_locked(path) is None
    os.close(held)
    again = open_locked(path)
    assert again is not None
    os.close(again)


def test_a_file_that_its_holder_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "mark", fcntl.flock

    def remove_once(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()  # as the holder does between opening and locking
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", remove_once)
    held = open_locked(path)
    assert held is not None
    assert os.fstat(held).st_ino == path.stat().st_ino
    os.close(held)
