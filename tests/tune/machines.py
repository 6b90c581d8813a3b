"""A Ray cluster of two machines on this one: the second does not see some of its folders."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.chaos.server import free_port

_COMMON = [
    *("--node-ip-address=127.0.0.1", "--block", "--disable-usage-stats"),
    # two nodes at one address: else both choose among the same ports
    *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
]
_RAY = str(Path(sys.executable).with_name("ray"))
_LONGEST_START = 400.0
_SHARED = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(16),
}


@contextmanager
def two_machines(hidden: Sequence[Path], **environment: str) -> Iterator[dict[str, str]]:
    """A head without CPUs, and a worker of two with other file systems where `hidden` is.

    Args:
        hidden: Folders that the worker has for itself, empty ones.
        environment: Variables of the worker.

    Yields:
        Variables for those who join: the cluster's address and its token.
    """
    port = free_port()
    address = f"127.0.0.1:{port}"
    with ExitStack() as stack:
        session = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
        options = [
            "--head",
            f"--port={port}",
            "--num-cpus=0",
            f"--temp-dir={session}",
            "--include-dashboard=false",
        ]
        stack.enter_context(_started([_RAY, "start", *_COMMON, *options]))
        mounts = " && ".join(f"mount -t tmpfs none '{folder}'" for folder in hidden)
        start = f"{mounts} && exec {_RAY} start {' '.join(_COMMON)} --address={address} --num-cpus=2"
        worker = ["unshare", "--mount", "--propagation", "private", "sh", "-c", start]
        stack.enter_context(_started(worker, **environment))
        yield _SHARED | {"RAY_ADDRESS": address}


@dataclass(frozen=True)
class Head:
    """A cluster's first machine.

    Attributes:
        port: Of the cluster, on 127.0.0.1.
    """

    port: int

    @property
    def joining(self) -> dict[str, str]:
        """Variables for those who join: the cluster's address and its token."""
        return _SHARED | {"RAY_ADDRESS": f"127.0.0.1:{self.port}"}

    @contextmanager
    def worker(self, **environment: str) -> Iterator[None]:
        """Another machine, of two CPUs, which has joined."""
        start = [_RAY, "start", *_COMMON, f"--address=127.0.0.1:{self.port}", "--num-cpus=2"]
        with _started(start, **environment):
            yield


@contextmanager
def head(cpus: int) -> Iterator[Head]:
    """A cluster of one machine."""
    found = Head(free_port())
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as session:
        ports = [f"--port={found.port}", f"--ray-client-server-port={free_port()}"]
        rest = [f"--num-cpus={cpus}", f"--temp-dir={session}", "--include-dashboard=false"]
        with _started([_RAY, "start", "--head", *_COMMON, *ports, *rest]):
            yield found


def why_not() -> str:
    """Why there can be no second machine here; empty if there can."""
    if os.geteuid() != 0:
        return "needs root, to make mount namespaces"
    unshare = shutil.which("unshare")
    if unshare is None:
        return "needs the command unshare"
    made = subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False)
    return "" if made.returncode == 0 else "may make no namespaces on this machine"


@contextmanager
def _started(command: Sequence[str], **environment: str) -> Iterator[None]:
    """A node that the cluster knows; begun again where Ray ends it, which it does after 15 s."""
    with ExitStack() as stack:
        log = Path(stack.enter_context(tempfile.NamedTemporaryFile(suffix=".log")).name)
        process = stack.enter_context(_process(command, log, environment))
        end = time.monotonic() + _LONGEST_START
        while "Ray runtime started." not in log.read_text(errors="replace"):
            assert time.monotonic() < end, log.read_text(errors="replace")
            if process.poll() is not None:
                process = stack.enter_context(_process(command, log, environment))
            time.sleep(0.2)
        yield


@contextmanager
def _process(
    command: Sequence[str], log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        process = subprocess.Popen(
            command,
            env=os.environ | _SHARED | environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(process.pid).children(recursive=True)
        process.kill()  # asked kindly, Ray waits for each of its processes
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait(60)
