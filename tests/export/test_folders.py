import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from tiny import write_lines

from themo.errors import InputError
from themo.export.folders import refuse_taken, whole_folder


def test_an_export_is_complete_or_absent(tmp_path: Path) -> None:
    output = tmp_path / "new" / "export"
    with pytest.raises(ZeroDivisionError), whole_folder(output) as folder:
        (folder / "half.txt").write_text(str(1 / 0))
    assert list(output.parent.iterdir()) == []
    with whole_folder(output) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "a.txt").write_text("whole")
        (folder / "part" / "a.txt").chmod(0o600)
        assert not output.exists()
    assert list(output.parent.iterdir()) == [output]
    umask = os.umask(0)
    os.umask(umask)
    assert (output / "part" / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "export") as folder:
        (folder / "a.txt").touch()
    (tmp_path / "empty").mkdir()
    with whole_folder(tmp_path / "empty") as folder:
        (folder / "a.txt").touch()
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["a.txt"]


def test_a_link_to_an_empty_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with whole_folder(tmp_path / "link") as folder:
        (folder / "a.txt").touch()
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["a.txt"]


def test_mount_points_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "export")
    (tmp_path / "export").mkdir()
    busy = OSError(errno.EBUSY, "Device or resource busy")
    with (
        pytest.raises(InputError, match=r"--output .*export: cannot be written: Device or resource busy"),
        whole_folder(tmp_path / "export"),
    ):
        monkeypatch.setattr(Path, "rename", Mock(side_effect=busy))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "link"]
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "export")
    for name in ("export", "link"):
        with pytest.raises(InputError, match=f"{name}: must be a folder below a mount point, got a mount"):
            refuse_taken(tmp_path / name)


def test_taken_folders(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"--output .*: must be an empty or new folder, but has 1 ent"),
        whole_folder(tmp_path),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"--output .*file: must be an empty or new folder, got a file"),
        whole_folder(tmp_path / "file"),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"--output .*below: cannot be written: File exists"),
        whole_folder(tmp_path / "file" / "below"),
    ):
        pass


def test_taken_in_the_meantime(tmp_path: Path) -> None:
    output = tmp_path / "export"
    with pytest.raises(InputError, match="but has 1 entries"), whole_folder(output):
        write_lines(output / "theirs.txt", ["theirs"])
    assert [path.name for path in output.iterdir()] == ["theirs.txt"]
