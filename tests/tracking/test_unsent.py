"""The mark of a folder that MLflow does not have."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from themo.errors import InputError
from themo.tracking.unsent import MARK_FILE, Destination, Mark, destination_of, is_marked, mark, marked
from themo.tracking.uri import default_uri

PLACE = Destination("http://server:5000", "any")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "e" / "version_0"
    path.mkdir(parents=True)
    return path


def write(folder: Path, place: Destination) -> None:
    held = Mark(folder)
    try:
        held.write(place)
    finally:
        held.release(is_sent=False)


def test_a_mark_stays_until_all_is_sent(folder: Path, tmp_path: Path) -> None:
    for is_new in (True, False):
        held = Mark(folder)
        held.write(PLACE)
        assert held.is_new == is_new
        assert marked(tmp_path) == [], "its process sends it"
        held.release(is_sent=False)
        assert marked(tmp_path) == [folder]
        assert destination_of(folder) == PLACE
    Mark(folder).release(is_sent=True)
    assert (marked(tmp_path), destination_of(folder)) == ([], None)


def test_a_later_destination_replaces_the_first(folder: Path) -> None:
    for place in (Destination("http://a-server-with-a-long-name:5000", "any"), Destination(None, "b")):
        write(folder, place)
        assert destination_of(folder) == place


def test_a_marked_folder_keeps_its_destination(folder: Path) -> None:
    for place in (PLACE, Destination(None, "b")):
        mark(folder, place)
        assert destination_of(folder) == PLACE


@pytest.mark.parametrize(
    ("uri", "experiment", "is_same"),
    [
        ("http://server:5000/", "any", True),
        ("http://server:5000", "other", False),
        ("http://server", "any", False),
        (None, "any", False),
    ],
)
def test_a_destination_is_a_server_and_an_experiment(uri: str | None, experiment: str, is_same: bool) -> None:
    assert PLACE.is_same(Destination(uri, experiment)) == is_same


def test_the_database_beside_the_logs_has_no_address(tmp_path: Path) -> None:
    assert Destination.of(default_uri(tmp_path), "e", tmp_path) == Destination(None, "e")
    assert Destination(None, "e").is_same(Destination(None, "e"))
    assert Destination.of("http://a:b@server", "e", tmp_path) == Destination("http://server", "e")


def test_a_killed_process_leaves_its_mark(folder: Path, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from themo.tracking.unsent import Destination, Mark
mark = Mark(Path({str(folder)!r}))
mark.write(Destination(None, "e"))
print("held", flush=True)
input()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"^{folder}: another process sends its runs$"):
            Mark(folder)
        mark(folder, PLACE)  # is left to that process
        assert destination_of(folder) == Destination(None, "e")
        os.kill(process.pid, signal.SIGKILL)
    assert marked(tmp_path) == [folder]


def test_a_mark_removed_before_it_is_locked_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that held it has sent all, and removed it between the opening and the lock."""
    plain, path, n_left = fcntl.flock, folder / MARK_FILE, [1]

    def lock(descriptor: int, how: int) -> None:
        if n_left[0]:
            n_left[0] -= 1
            path.unlink()
        plain(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock)
    write(folder, PLACE)
    assert json.loads(path.read_text()) == {"uri": "http://server:5000", "experiment": "any"}


@pytest.mark.parametrize("call", ["pwrite", "ftruncate"])
@pytest.mark.parametrize(
    "new", [Destination(None, "b"), Destination("http://server-with-a-long-name:5000", "b")]
)
def test_a_mark_whose_rewriting_breaks_off_keeps_a_destination(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, new: Destination
) -> None:
    mark(folder, PLACE)

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="full"):
            write(folder, new)
    assert destination_of(folder) == (PLACE if call == "pwrite" else new)
    write(folder, PLACE)
    assert destination_of(folder) == PLACE


def test_a_mark_cut_short_by_a_full_disk_has_no_destination(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda file, text, at: plain(file, text[:5], at))
        with pytest.raises(OSError, match="No space left"):
            write(folder, PLACE)
    assert destination_of(folder) is None
    assert is_marked(folder)
    assert Mark(folder).is_new


@pytest.mark.parametrize("text", ["{", "[]", '{"uri": 5, "experiment": "e"}', '{"uri": null}'])
def test_a_damaged_mark_is_named(folder: Path, text: str) -> None:
    (folder / MARK_FILE).write_text(text)
    with pytest.raises(InputError, match=r"/\.unsent: must name the uri and the experiment of the runs"):
        destination_of(folder)
