"""A search whose checkpoints lie in a bucket; the server speaks S3 and keeps it in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from formula_training import SECONDS_VARIABLE
from machines import free_port
from pyarrow import fs

from themo.errors import InputError
from tune.keeping import remove_leftovers
from tune.storage import Storage
from tune.study import Study, Trial

pytestmark = pytest.mark.slow

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def endpoint(address: str, server: subprocess.Popen[bytes]) -> str:
    """Address of the server."""
    return address


@pytest.fixture(scope="module")
def server(address: str) -> Iterator[subprocess.Popen[bytes]]:
    """One with the bucket ``ours``."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", address.partition(":")[2]]
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
    ):
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        bucket = fs.S3FileSystem(endpoint_override=address, scheme="http", allow_bucket_creation=True)
        end = time.monotonic() + 60
        while True:
            try:
                bucket.create_dir("ours")
                break
            except OSError:
                assert time.monotonic() < end, "the server did not start"
                time.sleep(0.2)
        yield server
        server.terminate()


def test_checkpoints_lie_in_the_bucket_and_the_winner_comes_back(endpoint, tmp_path):
    place = f"s3://ours/themo?endpoint_override={endpoint}&scheme=http"
    here = Path(__file__).parent
    command = [sys.executable, str(here / "formula_search.py"), str(tmp_path), "mine"]
    done = subprocess.run(
        [*command, f"storage_path='{place}'"],
        env=os.environ | {"PYTHONPATH": str(here)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "tune" / "mine"
    study = Study.load(folder / "study.json")
    assert (folder / "best" / "config.yaml").is_file()
    assert not (folder / "trials").exists()
    storage = Storage(place)
    (search,) = storage.folders()
    for trial in study:
        files = storage.filesystem.get_file_info(fs.FileSelector(f"{storage.root}/{search}", recursive=True))
        kept = {info.path for info in files if f"trial-{trial.number:04d}" in info.path and info.is_file}
        assert {path.rpartition("/")[0] for path in kept} == (
            {f"{storage.root}/{search}/{trial.checkpoint}"} if trial.checkpoint else set()
        )


def test_a_bucket_that_does_not_answer_for_a_while_costs_time_alone(endpoint, server, tmp_path):
    place = f"s3://ours/away?endpoint_override={endpoint}&scheme=http"
    here = Path(__file__).parent
    command = [sys.executable, str(here / "formula_search.py"), str(tmp_path), "mine"]
    with subprocess.Popen(
        [*command, f"storage_path='{place}'", "max_failures=1", "scheduler=none", "num_samples=2"],
        env=os.environ | {"PYTHONPATH": str(here), SECONDS_VARIABLE: "0.3"},
        stderr=subprocess.PIPE,
        text=True,
    ) as search:
        said: list[str] = []
        study = tmp_path / "tune" / "mine" / "study.json"
        while not (study.exists() and any(trial.checkpoint for trial in Study.load(study))):
            assert search.poll() is None, search.communicate()
            time.sleep(0.05)
        server.send_signal(signal.SIGSTOP)
        try:
            for line in search.stderr:
                said.append(line)
                if "waits for the storage: " in line:
                    break
        finally:
            server.send_signal(signal.SIGCONT)
        said += search.communicate(timeout=300)[1].splitlines()
    assert search.returncode == 0, said
    assert [trial.state for trial in Study.load(study)] == ["COMPLETE", "COMPLETE"]


def test_a_bucket_loses_what_nothing_needs(endpoint):
    storage = Storage(f"s3://ours/leftovers?endpoint_override={endpoint}&scheme=http")
    kept, left = (f"session-1/trial-0000/checkpoint_00000{n}" for n in (0, 1))
    for path in (kept, left, "session-2/trial-0001-from-100/checkpoint_000000"):
        with storage.filesystem.open_output_stream(f"{storage.root}/{path}/student/weights") as file:
            file.write(b"w")
    remove_leftovers(Study(None, "max", [Trial(0, {}, checkpoint=kept)]), storage)
    files = storage.filesystem.get_file_info(fs.FileSelector(storage.root, recursive=True))
    assert [info.path for info in files if info.is_file] == [f"{storage.root}/{kept}/student/weights"]
    assert sorted(storage.folders()) == ["session-1", "session-2"]


def test_a_bucket_that_is_not_there_is_refused(endpoint):
    place = f"s3://nobody?endpoint_override={endpoint}&scheme=http"
    with pytest.raises(InputError, match=r"--storage-path s3://nobody.*: cannot be written: "):
        Storage.named(place).refuse_unwritable()
