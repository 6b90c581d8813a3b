from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from themo.errors import InputError
from tune.cluster.worker import claim

REPOSITORY = Path(__file__).parents[3]


def test_each_worker_gets_a_gpu_of_its_own_until_there_are_none(tmp_path: Path) -> None:
    first, lock = claim(["0", "1"], tmp_path)
    second, other = claim(["0", "1"], tmp_path)
    assert (first, second) == ("0", "1")
    with pytest.raises(InputError, match=r"--scale worker: must be at most 2, .* all GPUs are in use"):
        claim(["0", "1"], tmp_path)
    os.close(lock)
    again, lock = claim(["0", "1"], tmp_path)
    os.close(lock)
    os.close(other)
    assert again == "0"


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A machine of one GPU: an `nvidia-smi` that lists it, and a `ray` that tells how it was started."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in {
        "nvidia-smi": "echo 0",
        "ray": 'echo "$CUDA_VISIBLE_DEVICES:$*"; read line',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_claim_lasts_as_long_as_ray(tmp_path: Path, commands: Path) -> None:
    command = [sys.executable, "-m", "tune.cluster.worker", "--address=head:6379", f"--claims={tmp_path}"]
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}
    with subprocess.Popen(
        [*command, "--", "--num-cpus=2"],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "this worker has GPU 0 of 1\n"
        assert worker.stdout.readline() == "0:start --address=head:6379 --block --num-cpus=2\n"
        second = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
        assert second.returncode == 2
        assert second.stderr.startswith("Error: --scale worker: must be at most 1")
        worker.communicate("\n")
    gpu, lock = claim(["0"], tmp_path)
    os.close(lock)
    assert gpu == "0"
