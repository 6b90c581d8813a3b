"""A search whose checkpoints lie in a bucket, of S3 or Google's: real servers that keep it in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import warm_start
from formula_training import SECONDS_VARIABLE
from pyarrow import fs

from benchmarks.chaos.server import free_port
from themo.errors import InputError
from tune.cluster.sharing import refuse_unwritable
from tune.cluster.storage import Storage
from tune.driver.checkpoints import match_checkpoints
from tune.study.study import Study
from tune.study.trial_record import Trial

pytestmark = [pytest.mark.slow, pytest.mark.system]

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_EC2_METADATA_DISABLED": "true",
}
SERVERS = {
    "s3": ["-m", "moto.server", "-H", "127.0.0.1", "-p"],
    "gs": ["-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1", "--in-memory", "--port"],
}


@dataclass(frozen=True)
class Host:
    """A server of one protocol, with the bucket ``ours``."""

    protocol: str
    address: str
    process: subprocess.Popen[bytes]

    def place(self, path: str) -> str:
        """The URI of a bucket, or of a folder in one."""
        if self.protocol == "s3":
            return f"s3://{path}?endpoint_override={self.address}&scheme=http"
        return f"gs://anonymous@{path}?endpoint_override={self.address}&scheme=http&retry_limit_seconds=10"

    def make_bucket(self) -> None:
        """Make the bucket, as an administrator."""
        if self.protocol == "s3":
            fs.S3FileSystem(
                endpoint_override=self.address, scheme="http", allow_bucket_creation=True
            ).create_dir("ours")
        else:
            request = urllib.request.Request(
                f"http://{self.address}/storage/v1/b",
                b'{"name": "ours"}',
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=10):  # noqa: S310
                pass


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    port = str(free_port())
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(
            [sys.executable, *SERVERS[request.param], port],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        host = Host(request.param, f"127.0.0.1:{port}", process)
        end = time.monotonic() + 300
        while True:
            try:
                host.make_bucket()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < end, "the server did not start"
                time.sleep(0.2)
        yield host
        process.terminate()


both = pytest.mark.parametrize("host", list(SERVERS), indirect=True)
s3 = pytest.mark.parametrize("host", ["s3"], indirect=True)


@both
def test_checkpoints_lie_in_the_bucket_and_the_winner_comes_back(host, tmp_path):
    place = host.place("ours/themo")
    here = Path(__file__).parents[1]
    command = [*warm_start.PYTHON, str(here / "formula_search.py"), str(tmp_path), "mine"]
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
    study = Study.reopen(folder / "study.json")
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


@s3  # the client for gs:// waits by itself, for a quarter of an hour
def test_a_bucket_unreachable_for_a_while_costs_only_time(host, tmp_path):
    place = host.place("ours/away")
    here = Path(__file__).parents[1]
    command = [*warm_start.PYTHON, str(here / "formula_search.py"), str(tmp_path), "mine"]
    with subprocess.Popen(
        [*command, f"storage_path='{place}'", "max_failures=1", "scheduler=none", "num_samples=2"],
        env=os.environ | {"PYTHONPATH": str(here), SECONDS_VARIABLE: "0.3"},
        stderr=subprocess.PIPE,
        text=True,
    ) as search:
        said: list[str] = []
        study = tmp_path / "tune" / "mine" / "study.json"
        while not (study.exists() and any(trial.checkpoint for trial in Study.reopen(study))):
            assert search.poll() is None, search.communicate()
            time.sleep(0.05)
        host.process.send_signal(signal.SIGSTOP)
        try:
            for line in search.stderr:
                said.append(line)
                if "waiting for the storage: " in line:
                    break
        finally:
            host.process.send_signal(signal.SIGCONT)
        said += search.communicate(timeout=300)[1].splitlines()
    assert search.returncode == 0, said
    assert [trial.state for trial in Study.reopen(study)] == ["COMPLETE", "COMPLETE"]


@both
def test_unneeded_checkpoints_are_removed_from_a_bucket(host):
    storage = Storage(host.place("ours/leftovers"))
    kept, left = (f"session-1/trial-0000/checkpoint_00000{n}" for n in (0, 1))
    for path in (kept, left, "session-2/trial-0001-from-100/checkpoint_000000"):
        with storage.filesystem.open_output_stream(f"{storage.root}/{path}/student/weights") as file:
            file.write(b"w")
    match_checkpoints(Study(None, "max", [Trial(0, {}, checkpoint=kept)]), storage)
    files = storage.filesystem.get_file_info(fs.FileSelector(storage.root, recursive=True))
    assert [info.path for info in files if info.is_file] == [f"{storage.root}/{kept}/student/weights"]
    assert "session-1" in storage.folders()


@both
def test_a_bucket_that_is_not_there_is_refused(host):
    with pytest.raises(
        InputError, match=rf"--storage-path {host.protocol}://.*nobody.*: cannot be written: "
    ):
        refuse_unwritable(Storage.named(host.place("nobody")))
