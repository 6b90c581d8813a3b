"""A local Ray cluster: a head node without slots, and nodes that are killed and replaced."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.chaos.server import free_port

REPOSITORY = Path(__file__).parents[2]

_HOST = "127.0.0.2"
"""A loopback address other than 127.0.0.1, with which Ray assumes a cluster of one node."""

_VARIABLES = {
    "PYTHONPATH": str(REPOSITORY),  # workers import the formula from it
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
    # a dead node refuses the connection at once; a slow one on a busy machine must not count as dead
    "RAY_health_check_timeout_ms": "30000",
    "RAY_worker_niceness": "0",  # Ray's 15 would starve workers on a busy machine
}
_BOTH = (
    *("--node-ip-address", _HOST, "--object-store-memory", "80000000", "--disable-usage-stats"),
    *("--min-worker-port", "0", "--max-worker-port", "0", "--dashboard-agent-listen-port", "0"),
    *("--include-log-monitor", "false", "--block"),
)
_STARTED = "Ray runtime started."
"""Output of `ray start` once the cluster has registered the node."""

_LONGEST_START = 600.0

_WATCH = """
import sys
from ray._raylet import GcsClient
for _ in sys.stdin:
    try:
        nodes = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)
        print(sum(node.state == 0 for node in nodes.values()), flush=True)
    except Exception:  # of several kinds: the cluster does not answer yet
        print(0, flush=True)
"""
"""Program that prints the number of alive nodes; a process of its own, as Ray keeps one token a process."""


class Node:
    """Processes of one machine of the cluster."""

    def __init__(self, options: list[str], log: Path, environment: Mapping[str, str]) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [ray, "start", *_BOTH, *options],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env=os.environ | _VARIABLES | dict(environment),
            )

    @property
    def is_running(self) -> bool:
        """Whether the node was not killed and has not ended by itself."""
        return self._process.poll() is None

    @property
    def has_started(self) -> bool:
        """Whether the cluster has registered the node."""
        return _STARTED in self._log.read_text(encoding="utf-8", errors="replace")

    def workers(self) -> list[psutil.Process]:
        """The node's worker processes that run a trial or are about to."""
        return [process for process in self._family() if _title(process).startswith("ray::ImplicitFunc")]

    def kill(self) -> None:
        """Send SIGKILL to all processes of the node at once, like a power failure."""
        family = self._family()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=30)
        self._process.wait()

    def _family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class Cluster:
    """A head and some nodes of one slot each; use as a context manager.

    Nodes start one after the other: Ray gives up a node that takes more than 15 s to start. Several nodes
    that start at once take longer on a busy machine.

    Args:
        nodes: Number of nodes.
        folder: Folder for logs.
    """

    def __init__(self, nodes: int, folder: Path) -> None:
        self._folder = folder
        self._n_nodes = nodes
        self._n_wanted = 0
        self._n_begun = 0
        self._temporary = Path(tempfile.mkdtemp(prefix="chaos"))  # short: Ray puts sockets below it
        port, client_port = free_port(_HOST), free_port(_HOST)
        self.address = f"{_HOST}:{port}"
        self._head_options = ["--head", "--port", str(port), "--ray-client-server-port", str(client_port)]
        self._head_options += ["--temp-dir", str(self._temporary), "--num-cpus", "0", "--num-gpus", "0"]
        self._head_options += ["--include-dashboard", "false"]
        token = self._temporary / "token"
        token.write_text(secrets.token_hex(32))
        self.environment = {
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
        }
        """The environment of a driver that joins the cluster."""
        self._watcher: subprocess.Popen[str] | None = None
        self._head: Node | None = None
        self.nodes: list[Node] = []

    def __enter__(self) -> Cluster:
        try:
            self._await(1)
            self.await_whole()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in [*self.nodes, *([self._head] if self._head else [])]:
            node.kill()
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add_node(self) -> None:
        """Add a node; it starts after the others and joins when it is ready."""
        self._n_wanted += 1
        self._begin_one()

    def kill_node(self, node: Node) -> None:
        """Kill a node without replacement."""
        self._n_wanted -= 1
        self._end(node)

    def mend(self) -> int:
        """Replace nodes that ended by themselves; return how many have ended since the last call."""
        ended = [node for node in self.nodes if not node.is_running]
        for node in ended:
            self._end(node)
        self._begin_one()
        return len(ended)

    def _begin_one(self) -> None:
        """Start a node if one is missing and no other is starting."""
        if len(self.nodes) < self._n_wanted and all(node.has_started for node in self.nodes):
            self._n_begun += 1
            options = ["--address", self.address, "--num-cpus", "1", "--num-gpus", "1"]
            self.nodes.append(Node(options, self._folder / f"node-{self._n_begun}.log", self.environment))

    def _end(self, node: Node) -> None:
        self.nodes.remove(node)
        node.kill()

    def alive(self) -> int:
        """Number of nodes that Ray considers alive, including the head."""
        if self._watcher is None:
            self._watcher = subprocess.Popen(
                [sys.executable, "-c", _WATCH, self.address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | self.environment,
            )
        assert self._watcher.stdin is not None
        assert self._watcher.stdout is not None
        self._watcher.stdin.write("\n")
        self._watcher.stdin.flush()
        return int(self._watcher.stdout.readline() or 0)

    def await_whole(self) -> None:
        """Wait until Ray has registered all nodes and removed the dead ones."""
        self._n_wanted = self._n_nodes
        self._await(1 + self._n_nodes)

    def _await(self, n_nodes: int) -> None:
        end = time.monotonic() + _LONGEST_START
        while True:
            self._mend_head()
            self.mend()
            if (alive := self.alive()) == n_nodes:
                return
            if time.monotonic() > end:
                logs = sorted(self._folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[-4:]
                tails = [path.read_text(errors="replace")[-600:] for path in logs]
                raise TimeoutError(f"{alive} of {n_nodes} nodes came up:\n" + "\n".join(tails))
            time.sleep(0.5)

    def _mend_head(self) -> None:
        if self._head is None or not self._head.is_running:
            if self._head is not None:
                self._head.kill()
            self._head = Node(self._head_options, self._folder / "head.log", self.environment)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
