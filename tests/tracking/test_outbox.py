import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.errors import InputError
from themo.tracking.outbox import Outbox, OutboxInUseError, left_behind

ADDRESS = {"uri": "http://127.0.0.1:1", "experiment": "e"}


def record(i: int) -> dict[str, object]:
    return {"do": "report", "number": i, "text": "niño \u2028 \n"}


@given(st.lists(st.sampled_from(["append", "take", "reopen"]), max_size=40))
def test_what_is_not_done_comes_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str]
) -> None:
    path = tmp_path_factory.mktemp("outbox") / "a.jsonl"
    box, expected, n = Outbox(path, ADDRESS), [], 0
    for action in actions:
        if action == "append":
            box.append(record(n))
            expected.append(n)
            n += 1
        elif action == "take" and expected:
            assert box.next(0.0) == record(expected.pop(0))
            box.done()
        elif action == "reopen":
            n_left = len(box)
            box.close()
            assert path.exists() == (n_left > 0)
            box = Outbox(path, ADDRESS)
            # what was done stays in the file until all is: it may come again, in order
            again = len(box) - n_left
            expected = list(range(n - n_left - again, n)) if expected else []
        assert len(box) == len(expected)
    box.close()


def test_others_may_not_read_it(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "a.jsonl", ADDRESS | {"uri": "postgresql://someone:secret@db/mlflow"})
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600
    box.close()


def test_it_waits_for_a_record_and_wakes_when_closed(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "a.jsonl", ADDRESS)
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend([box.next(), box.done(), box.next()]))
    thread.start()
    box.append(record(1))
    assert box.wait_until_empty(10.0)
    box.close()
    thread.join(10.0)
    assert got == [record(1), None, None]


def test_a_file_of_another_address_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    box = Outbox(path, ADDRESS)
    box.append(record(0))
    box.close()
    again = Outbox(path, {"uri": "other"})
    assert again.address == ADDRESS
    again.close()


def test_another_address_is_written_above_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    (tmp_path / ".a.jsonl.new").write_text("of a kill")
    box = Outbox(path, ADDRESS)
    for i in range(2):
        box.append(record(i))
    box.readdress(ADDRESS | {"uri": "http://127.0.0.1:22222"})
    box.append(record(2))
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutboxInUseError):
        Outbox(path, ADDRESS)
    for i in range(3):
        assert box.next(0.0) == record(i)
        box.done()
    assert path.read_text() == '{"uri": "http://127.0.0.1:22222", "experiment": "e"}\n'
    box.close()
    assert not path.exists()


def test_a_full_disk_leaves_the_old_address_and_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Outbox(tmp_path / "a.jsonl", ADDRESS)
    box.append(record(0))
    before = box.path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            box.readdress({"uri": "other"})
    assert (box.path.read_bytes(), box.address) == (before, ADDRESS)
    assert list(tmp_path.iterdir()) == [box.path]
    box.append(record(1))
    assert len(box) == 2
    box.close()


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    box = Outbox(path, ADDRESS)
    box.append(record(0))
    box.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"do": "rep')
    box = Outbox(path, ADDRESS)
    assert len(box) == 1
    box.append(record(1))
    assert path.read_bytes().startswith(whole)
    assert [json.loads(line)["number"] for line in path.read_bytes().splitlines()[1:]] == [0, 1]
    box.close()


def test_damaged_and_busy_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ADDRESS) + "\nno record\n")
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: must be a record of a run"):
        Outbox(path, ADDRESS)
    path.unlink()
    box = Outbox(path, ADDRESS)
    with pytest.raises(OutboxInUseError, match="another process sends what it holds"):
        Outbox(path, ADDRESS)
    box.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written: (File exists|Not a directory)"):
        Outbox(tmp_path / "file" / "a.jsonl", ADDRESS)


@pytest.mark.parametrize("address", [ADDRESS, None])
@pytest.mark.parametrize(
    "content",
    [
        '{"some": "settings"}',
        '{"uri": "x"}\n',
        '{"uri": "x", "experiment": 1}\n',
        '{"uri": "x", "experiment": "e"}',
        '["uri", "experiment"]\n',
        '{\n  "some": "settings"\n}',
        '{"uri": "x", "experiment": "e"}\nno record\n{"do": "rep',
        "SQLite format 3\0\n\0\xff",
    ],
)
def test_a_file_that_is_no_outbox_stays_as_it_is(
    tmp_path: Path, content: str, address: dict[str, str] | None
) -> None:
    path = tmp_path / "summary.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"line 1: must name the uri|line 2: must be a record"):
        Outbox(path, address)
    assert path.read_text(encoding="latin-1") == content


def test_an_address_torn_by_a_kill_is_rewritten(tmp_path: Path) -> None:
    head = json.dumps(ADDRESS) + "\n"
    path = tmp_path / "a.jsonl"
    for n in range(len(head)):
        path.write_text(head[:n])
        box = Outbox(path, ADDRESS)
        assert (path.read_text(), len(box), box.address) == (head, 0, ADDRESS)
        box.append(record(n))
        assert box.next(0.0) == record(n)
        box.done()
        box.close()


def test_a_file_removed_before_its_lock_takes_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by who sent all of it: what is appended then would be gone with it."""
    plain, path = fcntl.flock, tmp_path / "a.jsonl"

    def lock(file: BinaryIO, how: int) -> None:
        path.unlink(missing_ok=True)
        plain(file, how)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", lock)
        with pytest.raises(OutboxInUseError):
            Outbox(path, ADDRESS)
    box = Outbox(path, ADDRESS)
    box.append(record(1))
    assert len(path.read_bytes().splitlines()) == 2
    box.close()


def test_a_kill_loses_no_record_that_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    script = f"""
from pathlib import Path
from themo.tracking.outbox import Outbox
box = Outbox(Path({str(path)!r}), {ADDRESS})
i = 0
while True:
    box.append({{"i": i}})
    print(i, flush=True)
    i += 1
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(200)]
        os.kill(writer.pid, signal.SIGKILL)
    box = Outbox(path, None)
    found = []
    while (entry := box.next(0.0)) is not None:
        found.append(entry["i"])
        box.done()
    box.close()
    assert found[: len(told)] == told
    assert found == list(range(len(found)))
    assert not path.exists()


def test_leftovers_are_unused_files_with_records(tmp_path: Path) -> None:
    assert left_behind(tmp_path / "none") == []
    boxes = {name: Outbox(tmp_path / f"{name}.jsonl", ADDRESS) for name in ("empty", "left", "used")}
    for name in ("left", "used"):
        boxes[name].append(record(0))
    boxes["left"].close()
    assert left_behind(tmp_path) == [tmp_path / "left.jsonl"]
    boxes["used"].close()
    assert left_behind(tmp_path) == [tmp_path / "left.jsonl", tmp_path / "used.jsonl"]
    boxes["empty"].close()
