"""A Ray cluster of this machine: a head without slots, and nodes that are killed and replaced."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

REPOSITORY = Path(__file__).parents[2]

_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(REPOSITORY),  # of the workers: they import the formula
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all of it on 127.0.0.1
    "RAY_DEDUP_LOGS": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
    # a dead node refuses the connection at once; one on a busy machine must not pass for dead
    "RAY_health_check_timeout_ms": "30000",
}
_BOTH = (
    *("--node-ip-address", "127.0.0.1", "--object-store-memory", "80000000", "--disable-usage-stats"),
    *("--min-worker-port", "0", "--max-worker-port", "0", "--dashboard-agent-listen-port", "0"),
    *("--include-log-monitor", "false", "--block"),
)
_LONGEST_START = 300.0


class Node:
    """Processes of one machine of the cluster."""

    def __init__(self, options: list[str], log: Path) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [ray, "start", *_BOTH, *options],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env=os.environ | _VARIABLES,
            )

    @property
    def is_running(self) -> bool:
        """Whether it was not killed, and has not ended by itself."""
        return self._process.poll() is None

    def workers(self) -> list[psutil.Process]:
        """Its processes that have taken up a trial, or are about to."""
        return [process for process in self._family() if _title(process).startswith("ray::ImplicitFunc")]

    def kill(self) -> None:
        """SIGKILL to all of it at once, as when a machine loses power."""
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

    Args:
        nodes: How many.
        folder: For logs.
    """

    def __init__(self, nodes: int, folder: Path) -> None:
        self._folder = folder
        self._n_nodes = nodes
        self._temporary = Path(tempfile.mkdtemp(prefix="chaos"))  # short: Ray puts sockets below it
        port, client_port = _free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self._head_options = ["--head", "--port", str(port), "--ray-client-server-port", str(client_port)]
        self._head_options += ["--temp-dir", str(self._temporary), "--num-cpus", "0", "--num-gpus", "0"]
        self._head_options += ["--include-dashboard", "false"]
        self._head: Node | None = None
        self.nodes: list[Node] = []

    def __enter__(self) -> Cluster:
        try:
            self._head = Node(self._head_options, self._folder / "head.log")
            self._await(1)
            for _ in range(self._n_nodes):
                self.add_node()
            self._await(1 + self._n_nodes)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in [*self.nodes, *([self._head] if self._head else [])]:
            node.kill()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add_node(self) -> None:
        """Begin another node; it joins when it is ready."""
        options = ["--address", self.address, "--num-cpus", "1", "--num-gpus", "1"]
        self.nodes.append(Node(options, self._folder / "nodes.log"))

    def kill_node(self, node: Node) -> None:
        """Kill one for good."""
        self.nodes.remove(node)
        node.kill()

    def mend(self) -> int:
        """Replace nodes that ended by themselves; how many."""
        ended = [node for node in self.nodes if not node.is_running]
        for node in ended:
            self.kill_node(node)
            self.add_node()
        return len(ended)

    def alive(self) -> int:
        """Nodes that Ray takes for alive, the head among them."""
        from ray._raylet import GcsClient

        try:
            nodes = GcsClient(address=self.address).get_all_node_info(timeout=10)
        except Exception:  # of several kinds: it does not answer yet
            return 0
        return sum(node.state == 0 for node in nodes.values())

    def await_whole(self) -> None:
        """Wait until Ray knows all nodes that there should be, and has forgotten the dead."""
        while len(self.nodes) < self._n_nodes:
            self.add_node()
        self._await(1 + self._n_nodes)

    def _await(self, n_nodes: int) -> None:
        end = time.monotonic() + _LONGEST_START
        while self.alive() != n_nodes:
            if time.monotonic() > end:
                logs = [path.read_text(errors="replace")[-2000:] for path in self._folder.glob("*.log")]
                raise TimeoutError(f"{self.alive()} of {n_nodes} nodes came up:\n" + "\n".join(logs))
            self.mend()
            time.sleep(0.5)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
