from __future__ import annotations

import errno
import io
import shutil
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from themo.files import disk_space
from themo.files.disk_space import IMPATIENT, LossyFile, Patience, is_full

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs Linux's /dev/full, which is always full")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_space, "SECONDS_BETWEEN_TRIES", 0.01)


def write_to(path: Path) -> str:
    path.write_text("x")
    return path.name


def test_a_write_waits_for_disk_space_and_warns_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    places = [FULL, FULL, FULL, tmp_path / "kept"]
    assert Patience()(lambda: write_to(places.pop(0))) == "kept"
    said = capfd.readouterr().err.splitlines()
    assert said == ["Warning: waiting for space on a full disk: [Errno 28] No space left on device"]


def test_other_errors_and_impatience_raise_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        IMPATIENT(lambda: write_to(FULL))
    with pytest.raises(FileNotFoundError):
        Patience()(lambda: write_to(tmp_path / "nosuch" / "file"))


def test_ctrl_c_ends_this_and_later_waits_despite_a_handler() -> None:
    noted: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: noted.append(number))
    try:
        patience = Patience()
        threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            patience(lambda: write_to(FULL))
        with pytest.raises(OSError, match="No space left"):
            patience(lambda: write_to(FULL))
        signal.raise_signal(signal.SIGINT)
        assert noted == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_errors_that_mean_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    assert is_full(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert not is_full(PermissionError(errno.EACCES, "Permission denied"))
    assert not is_full(ValueError("No space left on device"))
    with pytest.raises(shutil.Error) as copied:
        shutil.copytree(
            tmp_path / "tree", tmp_path / "copy", copy_function=lambda a, _: shutil.copyfile(a, FULL)
        )
    assert is_full(copied.value)
    # what safetensors says of a full disk; that library replaces a file, so it must never be given a device
    assert is_full(SafetensorError("I/O error: No space left on device (os error 28)"))
    assert not is_full(SafetensorError("Error while serializing: invalid header"))


def test_a_log_loses_lines_rather_than_failing() -> None:
    with io.TextIOWrapper(io.BufferedWriter(LossyFile(FULL, "ab")), encoding="utf-8") as log:
        print("x" * 100_000, file=log, flush=True)


def test_waits_grow_no_longer_so_that_room_is_soon_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(disk_space, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=waits.append))
    places = [*[FULL] * 20, tmp_path / "kept"]
    assert Patience()(lambda: write_to(places.pop(0))) == "kept"
    assert waits == [0.01] * 20


def test_retry_ends_with_a_reason_that_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_space, "SECONDS_BETWEEN_WARNINGS", 600.0)
    failures: list[Exception] = [OSError("away"), OSError("away"), ValueError("wrong")]
    warned: list[str] = []
    paused: list[float] = []

    def fail() -> None:
        raise failures.pop(0)

    def reason_to_wait(error: Exception) -> str | None:
        return f"it: {error}" if isinstance(error, OSError) else None

    with pytest.raises(ValueError, match="wrong"):
        disk_space.retry(fail, reason_to_wait, warned.append, paused.append)
    assert warned == ["it: away"]
    assert paused == [disk_space.SECONDS_BETWEEN_TRIES] * 2
