import contextlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.errors import InputError
from themo.files.cache import MANIFEST, Cache, digest, digest_file, digest_folder

KEY = {"a": [1, "ñ", None]}


class Builder:
    """Writes an entry of three files and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        assert not list(folder.iterdir())
        self.calls += 1
        np.save(folder / "values.npy", np.arange(1000))
        (folder / "below").mkdir()
        (folder / "below" / "text.txt").write_text("año", encoding="utf-8")
        (folder / "empty").touch()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_built_once_and_found_by_key(tmp_path: Path) -> None:
    build = Builder()
    entry = Cache(tmp_path / "cache").entry("values", KEY, build)
    assert Cache(tmp_path / "cache").entry("values", dict(KEY), build) == entry
    assert build.calls == 1
    assert entry.name.startswith("values-")
    assert (entry / "below" / "text.txt").read_text(encoding="utf-8") == "año"
    Cache(tmp_path / "cache").entry("values", {"a": 2}, build)
    assert build.calls == 2


def test_the_manifest_holds_key_and_files(tmp_path: Path) -> None:
    entry = Cache(tmp_path).entry("values", KEY, Builder())
    manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["key"] == KEY
    assert set(manifest["files"]) == {"values.npy", "below/text.txt", "empty"}


def test_a_cache_can_be_moved(tmp_path: Path) -> None:
    build = Builder()
    Cache(tmp_path / "old").entry("values", KEY, build)
    shutil.move(tmp_path / "old", tmp_path / "new")
    Cache(tmp_path / "new").entry("values", KEY, build)
    assert build.calls == 1


def flip_a_byte(entry: Path) -> None:
    content = bytearray((entry / "values.npy").read_bytes())
    content[500] ^= 1
    (entry / "values.npy").write_bytes(content)


def empty(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a flipped bit": flip_a_byte,
    "a truncated file": lambda entry: os.truncate(entry / "values.npy", 100),
    "a missing file": lambda entry: (entry / "below" / "text.txt").unlink(),
    "a file grown": lambda entry: (entry / "empty").write_text("x", encoding="utf-8"),
    "no manifest": lambda entry: (entry / MANIFEST).unlink(),
    "half a manifest": lambda entry: os.truncate(entry / MANIFEST, 40),
    "an empty manifest": lambda entry: os.truncate(entry / MANIFEST, 0),
    "a manifest of something else": lambda entry: (entry / MANIFEST).write_text("[1]", encoding="utf-8"),
    "an empty folder": empty,
}


@pytest.mark.parametrize("opened", [False, True], ids=["after the build", "after it was opened"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_built_again(
    tmp_path: Path, damage: str, opened: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    build = Builder()
    entry = Cache(tmp_path).entry("values", KEY, build)
    if opened:
        assert Cache(tmp_path).has("values", KEY)
    before = files(entry)
    DAMAGES[damage](entry)
    assert Cache(tmp_path).entry("values", KEY, build) == entry
    assert build.calls == 2
    assert files(entry) == before
    assert "is damaged; building it again" in " ".join(capsys.readouterr().err.split())


def test_contents_are_read_once_as_long_as_no_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Cache(tmp_path).entry("values", KEY, Builder())
    read: list[str] = []
    monkeypatch.setattr(
        "themo.files.cache.digest_file", lambda path: read.append(path.name) or digest_file(path)
    )
    for _ in range(2):
        assert Cache(tmp_path).has("values", KEY)
        assert sorted(read) == ["empty", "text.txt", "values.npy"]
    (entry / "empty").touch()
    for _ in range(2):
        assert Cache(tmp_path).has("values", KEY)
        assert len(read) == 6
    noted = tmp_path / f".{entry.name}.checked"
    noted.unlink()
    noted.mkdir()  # nothing can be noted
    for n_read in (9, 12):
        assert Cache(tmp_path).has("values", KEY)
        assert len(read) == n_read


def test_a_file_replaced_with_its_times_is_noticed(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    file = cache.entry("values", KEY, Builder()) / "values.npy"
    assert cache.has("values", KEY)
    other, times = tmp_path / "other.npy", file.stat()
    np.save(other, np.ones(1000, int))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert other.stat().st_size == times.st_size
    other.replace(file)
    assert not cache.has("values", KEY)


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x", encoding="utf-8")
        raise InputError("the teacher is ill")

    with pytest.raises(InputError, match=r"^the teacher is ill$"):
        Cache(tmp_path).entry("values", KEY, fail)
    assert [p for p in tmp_path.iterdir() if p.suffix != ".lock"] == []
    build = Builder()
    Cache(tmp_path).entry("values", KEY, build)
    assert build.calls == 1


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_where_the_folder_should_be(tmp_path: Path, below: str) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    folder = tmp_path / "cache" / below
    with pytest.raises(InputError) as caught:
        Cache(folder).entry("values", KEY, Builder())
    reason = "Not a directory" if below else "File exists"
    assert str(caught.value) == f"cache_dir {folder}: values cannot be written: {reason}"


@contextlib.contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """A file system of its own, of a few pages; skips where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kibibytes=128) as disk:
        cache = Cache(disk / "cache")
        kept = cache.entry("kept", KEY, Builder())
        before = files(kept)
        with pytest.raises(InputError) as caught:
            cache.entry("values", KEY, lambda folder: np.save(folder / "big.npy", np.zeros(10**6)))
        message = str(caught.value)
        assert message.startswith(f"cache_dir {disk}/cache: values cannot be written: ")
        assert "no space left" in message
        # nothing lost, and the space is free again
        assert files(kept) == before
        cache.entry("values", KEY, Builder())


def test_a_file_size_limit(tmp_path: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from themo.files.cache import Cache
        from themo.errors import InputError
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            Cache(Path(sys.argv[1])).entry("values", 1, lambda f: np.save(f / "big.npy", np.zeros(10_000)))
        except InputError as error:
            print(error)
    """
    out = python(script, tmp_path).communicate(timeout=500)[0]
    assert out.startswith(f"cache_dir {tmp_path}: values cannot be written: ")
    assert len(out.splitlines()) == 1


def python(script: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


BUILD_SLOWLY = """
    import os, sys, time
    from pathlib import Path
    from themo.files.cache import Cache

    def build(folder):
        with open(sys.argv[2], "a") as log:
            log.write(f"{os.getpid()}\\n")
        for i in range(int(sys.argv[3])):
            (folder / f"{i}.txt").write_text("x" * 1000)
            time.sleep(0.02)

    print(Cache(Path(sys.argv[1])).entry("values", 1, build))
"""


def test_processes_that_want_an_entry_at_once_build_it_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [python(BUILD_SLOWLY, tmp_path / "cache", log, 25) for _ in range(3)]
    found = {process.communicate(timeout=500)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(log.read_text(encoding="utf-8").splitlines()) == 1
    (entry,) = found
    assert len(list(Path(entry.strip()).glob("*.txt"))) == 25


def test_a_killed_build_is_restarted(tmp_path: Path) -> None:
    log, cache = tmp_path / "log", tmp_path / "cache"
    process = python(BUILD_SLOWLY, cache, log, 100_000)
    while not list(cache.glob(".values-*/2.txt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not list(cache.glob("values-*"))
    after = python(BUILD_SLOWLY, cache, log, 3)
    entry = Path(after.communicate(timeout=500)[0].strip())
    assert sorted(p.name for p in entry.iterdir()) == ["0.txt", "1.txt", "2.txt", MANIFEST]
    assert [p for p in cache.iterdir() if p.suffix != ".lock"] == [entry]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_digests_differ_as_values_do(first: object, second: object) -> None:
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (digest(first) == digest(second)) == same


def test_digest_folder_knows_names_and_contents(tmp_path: Path) -> None:
    digests: set[str] = set()
    for name, text in (("a", "x"), ("b", "x"), ("a", "y"), ("c/a", "x")):
        folder = tmp_path / str(len(digests))
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text, encoding="utf-8")
        digests.add(digest_folder(folder))
        (folder / MANIFEST).touch()
        assert digest_folder(folder) in digests
    assert len(digests) == 4
