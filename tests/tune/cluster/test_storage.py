from __future__ import annotations

import errno
import re
import socket
from pathlib import Path

import pytest
from away_storage import AWAY, fail_from_uri
from pyarrow import fs

from themo.errors import InputError
from themo.files import disk_space
from tune.cluster.storage import Storage, answers, wait_for_storage


def test_a_folder_below_the_working_directory_is_named_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage.named("share/checkpoints").place == str(tmp_path / "share" / "checkpoints")


def test_a_folder_below_a_uri_keeps_its_filesystem_settings():
    below = Storage("s3://bucket/ours?endpoint_override=127.0.0.1:9000&scheme=http") / "mine"
    assert below.place == "s3://bucket/ours/mine?endpoint_override=127.0.0.1:9000&scheme=http"
    assert isinstance(below.filesystem, fs.S3FileSystem)
    assert below.root == "bucket/ours/mine"
    assert (Storage("/mnt/share") / "mine").root == "/mnt/share/mine"


@pytest.mark.parametrize("place", ["what://bucket/folder", "s3://bad bucket/x"])
def test_a_uri_of_no_file_system_is_refused(place):
    with pytest.raises(InputError, match=rf"--storage-path must be a folder or a URI .*, got '{place}': "):
        Storage.named(place)


@pytest.mark.parametrize("place", ["s3://", "gs:///folder", "s3://?scheme=http"])
def test_a_uri_without_a_bucket_is_refused(place):
    rule = rf"^--storage-path must name a bucket, as in s3://BUCKET/FOLDER, got '{re.escape(place)}'$"
    with pytest.raises(InputError, match=rule):
        Storage.named(place)


def test_keys_in_a_uri_are_refused_and_not_shown():
    with pytest.raises(
        InputError, match=r"--storage-path must not contain keys, .*AWS_ACCESS_KEY_ID"
    ) as caught:
        Storage.named("s3://someone:secret@bucket/folder")
    assert "secret@" not in str(caught.value)


def test_a_version_is_fetched_and_removed(tmp_path):
    storage = Storage(str(tmp_path / "share"))
    assert storage.folders() == []
    version = tmp_path / "share" / "session-1" / "trial-0000" / "checkpoint_000001"
    (version / "student").mkdir(parents=True)
    (version / "student" / "weights").write_text("w")
    assert storage.folders() == ["session-1"]
    storage.fetch("session-1/trial-0000/checkpoint_000001", tmp_path / "best")
    assert (tmp_path / "best" / "student" / "weights").read_text() == "w"
    for _ in range(2):
        storage.remove("session-1/trial-0000/checkpoint_000001")
    assert not version.exists()


def test_an_unseen_file_is_skipped_and_a_full_disk_reported(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    synced: list[Path] = []
    monkeypatch.setattr("tune.cluster.storage.sync_below", synced.append)
    storage.sync("session-1/trial-0000")
    assert synced == [tmp_path / "session-1" / "trial-0000"]
    monkeypatch.undo()
    storage.sync("session-1/trial-0000")

    def is_full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tune.cluster.storage.sync_below", is_full)
    with pytest.raises(OSError, match="No space left"):
        storage.sync("session-1/trial-0000")


def test_loose_files_go_and_checkpoints_stay(tmp_path):
    session = tmp_path / "session-1"
    kept = session / "trial-0000" / "checkpoint_000000" / "config.yaml"
    for path in (
        kept,
        session / "state.pkl",
        session / "trial-0000" / "params.pkl",
        session / "trial-0001" / "x",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    Storage(str(tmp_path)).remove_loose_files("session-1")
    assert [path for path in session.rglob("*") if path.is_file()] == [kept]
    assert not (session / "trial-0001").exists()
    Storage(str(tmp_path)).remove_loose_files("session-2")


def test_waits_for_an_absent_storage_not_a_refusing_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk_space, "SECONDS_BETWEEN_TRIES", 0.001)
    tries = iter([OSError("no route"), OSError(errno.ENOSPC, "No space left"), OSError("no route"), "done"])
    told: list[str] = []

    def work() -> str:
        if isinstance(result := next(tries), OSError):
            raise result
        return str(result)

    assert wait_for_storage(work, lambda: False, told.append) == "done"
    assert told == ["the storage: no route"], "it is said once a minute"
    tries = iter([OSError("forbidden")])
    with pytest.raises(OSError, match="forbidden"):
        wait_for_storage(work, lambda: True, told.append)


def test_creating_a_file_system_waits_for_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(disk_space, "SECONDS_BETWEEN_TRIES", 0.001)
    n_asked = fail_from_uri(monkeypatch, [OSError(AWAY)] * 2)
    assert Storage.named(str(tmp_path), waits=True).root == str(tmp_path)
    assert len(n_asked) == 3
    assert capsys.readouterr().err == f"Warning: waiting for the storage: {AWAY}\n"


def test_a_new_search_refuses_an_unreachable_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_from_uri(monkeypatch, [OSError(AWAY)])
    with pytest.raises(InputError) as caught:
        Storage.named("s3://ours/x")
    assert str(caught.value) == f"--storage-path s3://ours/x: is unreachable: {AWAY}"


@pytest.mark.parametrize("error", [OSError("Bucket 'ours' not found"), ValueError("no such scheme")])
def test_a_faulty_uri_is_refused_without_a_wait(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    fail_from_uri(monkeypatch, [error] * 2)
    with pytest.raises(InputError, match=rf"must be a folder or a URI .*, got 's3://ours/x': {error}"):
        Storage.named("s3://ours/x", waits=True)


def test_whether_a_storage_can_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fail_from_uri(monkeypatch, [OSError(AWAY), OSError("Bucket 'ours' not found")])
    assert [Storage(str(tmp_path)).is_reachable() for _ in range(3)] == [False, True, True]


def test_whether_a_storage_answers(tmp_path: Path) -> None:
    assert answers(fs.LocalFileSystem(), str(tmp_path / "nothing yet"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = fs.S3FileSystem(
            access_key="a",
            secret_key="b",  # noqa: S106 -- of nothing
            endpoint_override=f"127.0.0.1:{unused.getsockname()[1]}",
            scheme="http",
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
        )
        assert not answers(away, "ours/themo")


def test_the_driver_waits_for_a_storage_that_is_away_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(disk_space, "SECONDS_BETWEEN_TRIES", 0.01)
    monkeypatch.setattr("tune.cluster.storage.answers", lambda *_: False)
    tries = iter([OSError(errno.EHOSTDOWN, "Host is down")] * 3)

    def work() -> str:
        for error in tries:
            raise error
        return "done"

    assert Storage(str(tmp_path)).retry_until_reachable(work) == "done"
    assert capsys.readouterr().err == "Warning: waiting for the storage: [Errno 112] Host is down\n"
