"""A Ray worker that claims a GPU for itself: `docker compose up --scale worker=N` on a machine with N GPUs.

Docker gives every replica of a service the same GPUs. Each worker therefore claims one by a lock on a file in
a shared folder; the system releases the lock when the process ends.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from themo.cli.options import path
from themo.errors import InputError
from themo.files.locks import open_locked


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Join a cluster with one GPU, or without one on a machine without GPUs; becomes ``ray start``."""
    parser = argparse.ArgumentParser(prog="python -m tune.cluster.worker", description=__doc__)
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="the cluster's head")
    parser.add_argument("--claims", required=True, type=path, metavar="FOLDER", help="shared by the machine")
    parser.add_argument("ray_options", nargs="*", metavar="OPTION", help="of `ray start`, after --")
    options = parser.parse_args(arguments)
    gpus = visible_gpus()
    if gpus:
        try:
            gpu, lock = claim(gpus, options.claims)
        except InputError as error:
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(2)
        os.set_inheritable(lock, True)
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        print(f"this worker has GPU {gpu} of {len(gpus)}", flush=True)
    command = ["ray", "start", f"--address={options.address}", "--block", *options.ray_options]
    os.execvp(command[0], command)  # noqa: S606  # Ray takes this process over, the lock with it


def visible_gpus() -> list[str]:
    """Indices of the GPUs that this process sees; empty without NVIDIA's driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.split() if answer.returncode == 0 else []


def claim(gpus: Sequence[str], folder: Path) -> tuple[str, int]:
    """The first free GPU, and the descriptor of its lock, which lasts until it is closed.

    Raises:
        InputError: All GPUs are taken.
    """
    for gpu in gpus:
        if (lock := open_locked(folder / f"gpu-{gpu}")) is not None:
            return gpu, lock
    raise InputError(f"--scale worker: must be at most {len(gpus)}, one per GPU: all GPUs are in use")


if __name__ == "__main__":
    main()
