import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray
import ray.tune
import warm_start

from themo.errors import InputError
from tune.cluster import connection as module
from tune.cluster.address import refuse_unreachable


def test_a_machine_too_busy_for_ray_is_named_after_retries(tmp_path, monkeypatch, capsys):
    attempts: list[dict[str, object]] = []

    def too_late(**options: object) -> None:
        attempts.append(options)
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")  # of a cluster that was not asked for
    monkeypatch.setattr(ray, "init", too_late)
    with (
        pytest.raises(
            module.ClusterError, match=r"Ray did not start within 30 s in 5 attempts: .*ray\.log\)$"
        ),
        module.connect(None, tmp_path / "ray.log"),
    ):
        pass
    assert [options["address"] for options in attempts] == ["local"] * 5
    said = capsys.readouterr().err.splitlines()
    assert said == [f"Ray did not start within 30 s: attempt {n} of 5" for n in (2, 3, 4, 5)]


@pytest.mark.parametrize(
    "trouble",
    [
        "Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.9.1\nThis ...",
        "Can't find a node_ip_address.json file from ...",
    ],
)
def test_a_cluster_that_refuses_this_process_costs_one_line(tmp_path, monkeypatch, trouble):
    def refuse(**_: object) -> None:
        raise RuntimeError(trouble)

    monkeypatch.setattr(module, "refuse_unreachable", lambda _: None)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(InputError) as caught, module.connect("head:6379", tmp_path / "ray.log"):
        pass
    rule = "--address: the cluster at head:6379 must be joined on one of its machines, with its Ray and its "
    instead = "ray job submit --address http://head:8265 -- python -m themo tune --address auto"
    told = " ".join(trouble.split())
    assert str(caught.value) == f"{rule}Python ({told}), or submit the command: {instead}"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ray.exceptions.RaySystemError("no head\n  at ..."), "System error: no head"),
        (
            ray.tune.TuneError("Traceback (most recent ...):\n File ...\nOSError: gone\n"),
            "OSError: gone",
        ),
    ],
)
def test_an_error_of_ray_is_one_line_with_its_traceback_kept(tmp_path, monkeypatch, error, told):
    joined = argparse.Namespace(dashboard_url="")
    monkeypatch.setattr(module, "refuse_unreachable", lambda _: None)
    monkeypatch.setattr(ray, "init", lambda **_: joined)
    log = tmp_path / "ray.log"
    with pytest.raises(module.ClusterError) as caught, module.connect("head:6379", log):
        raise error
    assert str(caught.value) == f"Ray: {told} (more in {log})"
    assert log.read_text().startswith("Traceback")


def test_joining_a_cluster_keeps_the_handler_of_sigterm(tmp_path, monkeypatch):
    def init(**_: object) -> argparse.Namespace:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Ray puts one of its own there
        return argparse.Namespace(dashboard_url="")

    monkeypatch.setattr(module, "refuse_unreachable", lambda _: None)
    monkeypatch.setattr(ray, "init", init)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with module.connect("head:6379", tmp_path / "ray.log"):
        found = signal.signal(signal.SIGTERM, before)
    assert found is signal.default_int_handler


RUN_HERE = """
import sys
from pathlib import Path
from tune.cluster.connection import connect
with connect(None, Path(sys.argv[1])) as cluster:
    import ray
    ray.get(ray.remote(lambda: 1).remote())
    from ray._private.worker import _global_node
    print(_global_node.address, file=sys.__stdout__, flush=True)
    sys.stdin.readline()
"""


JOIN = """
import sys
from pathlib import Path
from tune.cluster.connection import connect
with connect(sys.argv[1], Path(sys.argv[2])):
    import ray
    where = ray.remote(lambda: __import__("tune").__file__)
    print(ray.get(where.remote()), file=sys.__stdout__)
"""


@pytest.fixture
def local_cluster(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Address of a cluster of this machine, with a token of its own, and the process that began it."""
    token = tmp_path / "token"
    token.write_text("a-token-of-the-tests")
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
    }
    with subprocess.Popen(
        [sys.executable, "-c", RUN_HERE, str(tmp_path / "ray.log")],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.communicate("\n", timeout=500)


@pytest.mark.slow
def test_a_local_cluster_listens_locally_and_needs_its_token(
    local_cluster: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, pid = local_cluster
    assert address.startswith("127.0.0.1:")
    sockets = _listening_sockets(pid)
    assert len(sockets) > 3
    assert {host for host, _ in sockets} == {"127.0.0.1"}
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # else Ray asks at the network's address
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    with pytest.raises(
        InputError, match=r"refuses this token, or needs one: set RAY_AUTH_MODE=token and RAY_"
    ):
        refuse_unreachable(address)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"refuses this token, or needs one"):
        refuse_unreachable(address)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    refuse_unreachable(address)
    joined = subprocess.run(
        [sys.executable, "-c", JOIN, address, str(tmp_path / "join.log")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,  # away from the code, which Ray would find beside the driver on its own machine
    )
    assert joined.returncode == 0, joined.stderr
    assert "py_modules" in joined.stdout, "the worker's code is not the driver's"


AFTER_A_CLUSTER = """
import os
import sys
from pathlib import Path
from tune.cluster.connection import connect

def says():
    from ray._private import ray_constants
    return os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"), ray_constants.ENABLE_RAY_CLUSTER

before = says()
with connect(None, Path(sys.argv[1])):
    within = says()
assert within == ("0", False), within
assert says() == before, (before, says())
"""


@pytest.mark.slow
@pytest.mark.parametrize("said", [None, "1"])
def test_after_a_cluster_of_this_machine_others_may_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    if said is not None:
        monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", said)
    subprocess.run([*warm_start.PYTHON, "-c", AFTER_A_CLUSTER, str(tmp_path / "ray.log")], check=True)


SIGTERM_WHILE_LEAVING = """
import signal
import sys
from pathlib import Path
from tune.cluster.connection import connect

def is_handled():
    line = next(line for line in open("/proc/self/status") if line.startswith("SigCgt:"))
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

signal.signal(signal.SIGTERM, lambda *_: None)
with connect(None, Path(sys.argv[1])):
    from ray._private.worker import _global_node as node
    stop = node.kill_all_processes

    def watched(**options):
        print(is_handled(), file=sys.__stdout__)
        stop(**options)

    node.kill_all_processes = watched
print(is_handled())
"""


@pytest.mark.slow
def test_sigterm_is_handled_while_a_cluster_ends_and_after(tmp_path: Path) -> None:
    """Ray resets it in the operating system."""
    ended = subprocess.run(
        [*warm_start.PYTHON, "-c", SIGTERM_WHILE_LEAVING, str(tmp_path / "ray.log")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ended.stdout.split() == ["True", "True"]


COLLECT_WHILE_LEAVING = """
import sys
import threading
from pathlib import Path
from tune.cluster.connection import connect

with connect(None, Path(sys.argv[1])):
    import ray
    from ray._private.worker import global_worker
    one = ray.put(None)
    references = [ray.ObjectRef(one.binary()) for _ in range(500_000)]

    def drop():
        while references and hasattr(global_worker, "core_worker"):
            cycle = [references.pop()]
            cycle.append(cycle)
            for _ in range(100):  # Python collects after some hundred
                cycle = []
                cycle.append(cycle)

    thread = threading.Thread(target=drop)
    thread.start()
thread.join()
print("left", len(references))
"""


@pytest.mark.slow
def test_leaving_a_cluster_survives_threads_dropping_references(tmp_path: Path) -> None:
    """Ray ends a process, with exit code 1 and no word of ours, that collects garbage as it shuts down."""
    command = [*warm_start.INTERPRETER, "-c", COLLECT_WHILE_LEAVING, str(tmp_path / "ray.log")]
    left = subprocess.run(command, check=False, capture_output=True, text=True)
    assert left.returncode == 0, left.stderr
    assert int(left.stdout.removeprefix("left")) > 0, "none was dropped at the end"


def _listening_sockets(pid: int) -> set[tuple[str, int]]:
    """Sockets on which a process and its children listen."""
    process, found = psutil.Process(pid), []
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            found += one.net_connections("tcp")
    return {
        (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
        for connection in found
        if connection.status == psutil.CONN_LISTEN
    }
