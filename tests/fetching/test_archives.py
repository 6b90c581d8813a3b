import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.errors import InputError
from themo.fetching.archives import is_unpacked, unpack

FILES = {
    "readme.txt": b"hello",
    "images/a.jpg": b"\xff" * 5000,
    "images/deep/niño.jpg": b"",
    "b.bin": bytes(range(256)) * 40,
}
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")


def write_archive(path: Path, contents: Mapping[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened_zip:
            opened_zip.mkdir("images")
            for name, content in contents.items():
                opened_zip.writestr(name, content)
        return path
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as opened_tar:
        folder = tarfile.TarInfo("images")
        folder.type = tarfile.DIRTYPE
        opened_tar.addfile(folder)
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened_tar.addfile(info, io.BytesIO(content))
    return path


def found(folder: Path) -> dict[str, bytes]:
    """Names and contents of all files, the markers left out."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.suffix != ".unpacked"
    }


def beside(folder: Path) -> set[str]:
    """Names beside a folder, without locks and archives."""
    names = {p.name for p in folder.parent.iterdir()} - {folder.name}
    return {name for name in names if not name.endswith((".lock", *SUFFIXES))}


def refusal(archive: Path, folder: Path, keep: Callable[[str], bool] = lambda _: True) -> str:
    with pytest.raises(InputError) as caught:
        unpack(archive, folder, keep)
    assert not is_unpacked(archive, folder)
    assert beside(folder) == set()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "unpacked"


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".TGZ"])
def test_all_files_are_unpacked(tmp_path: Path, folder: Path, suffix: str) -> None:
    archive = write_archive(tmp_path / f"a{suffix}", FILES)
    assert not is_unpacked(archive, folder)
    unpack(archive, folder)
    assert found(folder) == FILES
    assert is_unpacked(archive, folder)
    assert beside(folder) <= {"a.TGZ"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_wanted_members_are_unpacked(tmp_path: Path, folder: Path, suffix: str) -> None:
    archive = write_archive(
        tmp_path / f"a{suffix}", {f"./{name}": content for name, content in FILES.items()}
    )
    asked: list[str] = []

    def keep(name: str) -> bool:
        asked.append(name)
        return name.endswith(".jpg")

    unpack(archive, folder, keep)
    assert asked == list(FILES)
    assert found(folder) == {name: content for name, content in FILES.items() if name.endswith(".jpg")}
    assert not (folder / "b.bin").exists()


def test_of_members_of_one_name_the_last_counts(tmp_path: Path, folder: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", {"x": b"old", "./x": b"newer"})
    unpack(archive, folder)
    assert found(folder) == {"x": b"newer"}
    before = (folder / "x").stat().st_ino
    unpack(archive, folder)
    assert (folder / "x").stat().st_ino == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unpacked_once(tmp_path: Path, folder: Path, suffix: str) -> None:
    archive = write_archive(tmp_path / f"a{suffix}", FILES)
    unpack(archive, folder)
    before = (folder / "b.bin").stat().st_ino
    unpack(archive, folder)
    assert (folder / "b.bin").stat().st_ino == before
    # more is wanted, or a file is gone, or the archive is another one
    (folder / "b.bin").unlink()
    unpack(archive, folder)
    assert found(folder) == FILES
    write_archive(archive, {**FILES, "readme.txt": b"adieu"})
    unpack(archive, folder)
    assert found(folder) == {**FILES, "readme.txt": b"adieu"}


def test_a_wider_choice_is_unpacked(tmp_path: Path, folder: Path) -> None:
    archive = write_archive(tmp_path / "a.zip", FILES)
    unpack(archive, folder, lambda name: name == "b.bin")
    unpack(archive, folder)
    assert found(folder) == FILES


def test_the_archive_may_go(tmp_path: Path, folder: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", FILES)
    unpack(archive, folder)
    archive.unlink()
    assert is_unpacked(archive, folder)
    assert not is_unpacked(tmp_path / "b.tar", folder)


def test_archives_share_a_folder(tmp_path: Path, folder: Path) -> None:
    first = write_archive(tmp_path / "a.tar", {"images/1": b"1", "both": b"first"})
    second = write_archive(tmp_path / "b.zip", {"images/2": b"2", "both": b"second"})
    folder.mkdir()
    (folder / "mine").write_bytes(b"mine")
    unpack(first, folder)
    unpack(second, folder)
    assert found(folder) == {"mine": b"mine", "images/1": b"1", "images/2": b"2", "both": b"second"}
    assert is_unpacked(first, folder)
    assert is_unpacked(second, folder)
    assert beside(folder) == set()


def test_a_folder_that_is_a_link(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "elsewhere" / "real").mkdir(parents=True)
    folder.symlink_to(tmp_path / "elsewhere" / "real")
    unpack(write_archive(tmp_path / "a.tar", FILES), folder)
    assert found(tmp_path / "elsewhere" / "real") == FILES
    assert folder.is_symlink()
    # temporary files lie beside the real folder: the link may lead to another disk
    assert (tmp_path / "elsewhere" / ".real.lock").exists()


ESCAPES = ["../x", "a/../../x", "/etc/x", "..", "a/..", "..\\x"]


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, folder: Path, suffix: str, name: str) -> None:
    archive = write_archive(tmp_path / f"a{suffix}", {"good": b"x", name: b"x"})
    message = refusal(archive, folder)
    assert message == f"{archive}: {name} must lie in the folder it is unpacked into"
    assert not folder.exists()
    unpack(archive, folder, lambda member: member == "good")
    assert found(folder) == {"good": b"x"}


TYPES = {
    "a symbolic link": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a pipe": tarfile.FIFOTYPE,
    "a device": tarfile.CHRTYPE,
    "a disk": tarfile.BLKTYPE,
}


@pytest.mark.parametrize("kind", TYPES)
def test_a_link_or_device_in_a_tar_is_refused(tmp_path: Path, folder: Path, kind: str) -> None:
    archive = write_archive(tmp_path / "a.tar", {"good": b"x"})
    info = tarfile.TarInfo("bad")
    info.type, info.linkname = TYPES[kind], "good"
    with tarfile.open(archive, "a") as opened:
        opened.addfile(info)
    message = refusal(archive, folder)
    assert message == f"{archive}: bad must be a regular file, but is a link or a device"
    assert not folder.exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = tmp_path / "a.zip"
    info = zipfile.ZipInfo("bad")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("good", b"x")
        opened.writestr(info, "/etc/passwd")
    message = refusal(archive, folder)
    assert message == f"{archive}: bad must be a regular file, but is a link or a device"


def test_a_refused_member_leaves_the_existing_folder_unchanged(tmp_path: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "good").write_bytes(b"mine")
    refusal(write_archive(tmp_path / "a.tar", {"good": b"x", "../bad": b"x"}), folder)
    assert found(folder) == {"good": b"mine"}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"this is no archive", b"x" * 5000])
def test_a_file_that_is_no_archive_is_refused(
    tmp_path: Path, folder: Path, suffix: str, content: bytes
) -> None:
    archive = tmp_path / f"a{suffix}"
    archive.write_bytes(content)
    assert refusal(archive, folder).startswith(f"{archive}: is damaged or truncated: ")
    assert not folder.exists()


def test_another_kind_of_archive(tmp_path: Path, folder: Path) -> None:
    archive = tmp_path / "a.tar.zip.7z"
    archive.touch()
    with pytest.raises(InputError) as caught:
        unpack(archive, folder)
    assert str(caught.value) == f"{archive}: must be a .tar, .tar.gz, .tgz or .zip"


def test_no_archive(tmp_path: Path, folder: Path) -> None:
    assert refusal(tmp_path / "a.tar", folder) == f"{tmp_path / 'a.tar'}: no such file"


@given(st.sampled_from([".tar", ".tar.gz", ".zip"]), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_an_archive_that_is_cut_off_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, share: float
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    archive = write_archive(folder / f"a{suffix}", FILES)
    # what follows a tar's end mark, two blocks of zeros, is padding
    needed = archive.stat().st_size
    if suffix == ".tar":
        with tarfile.open(archive) as opened:
            opened.getmembers()
            needed = opened.offset + tarfile.BLOCKSIZE
    os.truncate(archive, int(share * needed))
    message = refusal(archive, folder / "unpacked")
    assert message.startswith(f"{archive}: is damaged or truncated: ")
    assert not (folder / "unpacked").exists()
    shutil.rmtree(folder)


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_a_checksum_that_does_not_fit(tmp_path: Path, folder: Path, suffix: str) -> None:
    archive = write_archive(tmp_path / f"a{suffix}", FILES)
    content = bytearray(archive.read_bytes())
    if suffix == ".zip":
        content[content.index(b"readme.txt") + len("readme.txt") + 1] ^= 1
    else:
        content[-6] ^= 1  # of the checksum of all
    archive.write_bytes(content)
    assert refusal(archive, folder).startswith(f"{archive}: is damaged or truncated: ")
    assert not folder.exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_content_of_a_zip_is_refused(tmp_path: Path, folder: Path, compression: int) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", compression) as opened:
        opened.writestr("a.txt", bytes(range(256)) * 40)
    content = bytearray(archive.read_bytes())
    start = content.index(b"a.txt") + len("a.txt")
    content[start + 4 : start + 60] = b"\xff" * 56
    archive.write_bytes(content)
    assert refusal(archive, folder).startswith(f"{archive}: ")
    assert not folder.exists()


def test_a_zip_of_a_future_version_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = write_archive(tmp_path / "a.zip", {"a": b"x"})
    content = bytearray(archive.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 6] = 250  # version needed to extract
    archive.write_bytes(content)
    assert refusal(archive, folder) == f"{archive}: is damaged or truncated: zip file version 25.0"


def test_a_zero_byte_in_a_tars_name_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as opened:
        info = tarfile.TarInfo("a.txt")
        info.pax_headers = {"path": "a\0.txt"}
        opened.addfile(info)
    assert refusal(archive, folder) == f"{archive}: 'a\\x00.txt' must be a name without a zero byte"
    assert not folder.exists()


def test_garbage_between_members(tmp_path: Path, folder: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", {"a": b"x" * 512, "b": b"y" * 512})
    content = bytearray(archive.read_bytes())
    at = content.index(b"b" + b"\0" * 99)
    content[at : at + 512] = b"z" * 512
    archive.write_bytes(content)
    assert refusal(archive, folder) == f"{archive}: is damaged or truncated: its end is missing"


def test_a_password(tmp_path: Path, folder: Path) -> None:
    archive = write_archive(tmp_path / "a.zip", {"secret": b"x"})
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.rindex(mark) + offset] |= 1
    archive.write_bytes(content)
    assert refusal(archive, folder).startswith(f"{archive}: secret cannot be read: ")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_too_large_for_the_disk_is_refused(
    tmp_path: Path, folder: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / f"a{suffix}", {"big": bytes(3_000_000), "small": b"x"})
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert refusal(archive, folder) == (f"{archive}: needs 3.0 MB in {folder.parent}, where 1.0 MB are free")
    unpack(archive, folder, lambda name: name == "small")
    assert found(folder) == {"small": b"x"}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", FILES)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        unpack(archive, tmp_path / "file" / "below" / "folder")
    assert str(caught.value) == (
        f"{archive}: cannot be unpacked into {tmp_path}/file/below/folder: Not a directory"
    )


def test_a_member_below_another(tmp_path: Path, folder: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", {"x": b"a file", "x/y": b"below it"})
    assert refusal(archive, folder).startswith(f"{archive}: cannot be unpacked into {folder}: ")


UNPACK = """
    import sys, time
    from pathlib import Path
    from themo.fetching import archives

    class Slow:
        def __init__(self, member):
            self.member = member
        def __getattr__(self, name):
            time.sleep(float(sys.argv[3]) if name == "open" else 0)
            return getattr(self.member, name)

    members = archives._tar_members
    archives._tar_members = lambda *arguments: [Slow(member) for member in members(*arguments)]
    archives.unpack(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def unpack_slowly(archive: Path, folder: Path, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(UNPACK), str(archive), str(folder), str(seconds)]
    return subprocess.Popen(command, text=True)


@pytest.mark.parametrize("exists", [False, True])
def test_a_killed_process_leaves_nothing_that_is_taken_for_whole(
    tmp_path: Path, folder: Path, exists: bool
) -> None:
    archive = write_archive(tmp_path / "a.tar", {f"{i}": b"x" * 100 for i in range(100)})
    if exists:
        folder.mkdir()
    process = unpack_slowly(archive, folder, 0.05)
    while not list(tmp_path.glob(".unpacked.unfinished/2")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert folder.exists() == exists
    assert not is_unpacked(archive, folder)
    unpack(archive, folder)
    assert len(found(folder)) == 100
    assert is_unpacked(archive, folder)
    assert beside(folder) == set()


def test_a_run_ended_while_moving_is_not_complete(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / "a.tar", FILES)
    unpack(archive, folder)
    (folder / "readme.txt").unlink()
    replace = Path.replace

    def fail_at_the_last(self: Path, target: Path) -> Path:
        if self.name == "readme.txt":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_last)
    message = refusal(archive, folder)
    assert message == f"{archive}: cannot be unpacked into {folder}: No space left on device"
    monkeypatch.undo()
    unpack(archive, folder)
    assert found(folder) == FILES


def test_processes_that_unpack_at_once(tmp_path: Path, folder: Path) -> None:
    archive = write_archive(tmp_path / "a.tar", {f"{i}": b"x" * 100 for i in range(10)})
    processes = [unpack_slowly(archive, folder, 0.02) for _ in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert len(found(folder)) == 10
    assert beside(folder) == set()
