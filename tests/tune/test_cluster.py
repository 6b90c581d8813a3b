import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from themo.errors import InputError
from tune import cluster as module
from tune.cluster import Resources, Slots, asked_address, count_slots, refuse_unreachable


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens(scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError) as caught:
            refuse_unreachable(address)
    assert str(caught.value) == f"--address: no Ray cluster answers at {address}: Connection refused"


@pytest.mark.parametrize("address", [None, "local"])
def test_a_cluster_that_is_yet_to_be_started_is_not_looked_for(address: str | None) -> None:
    refuse_unreachable(address)


def test_the_address_of_a_submitted_job_is_asked_for_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert [asked_address(given) for given in (None, "local", "auto")] == ["head:6379", "local", "auto"]
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert asked_address(None) is None


def test_a_local_cluster_is_one_that_is_yet_to_be_started() -> None:
    assert Resources(address="local") == Resources()
    assert replace(Resources(address="head:6379"), address="local") == Resources()


@pytest.mark.parametrize("address", ["", "here", "host:", ":6379", "host:port", "ray://host"])
def test_an_address_of_no_known_form(address: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_unreachable(address)
    assert str(caught.value) == f"--address (or RAY_ADDRESS) must be HOST:PORT or auto, got '{address}'"


def test_a_client_address_is_refused_with_the_command_to_use_instead() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"ray://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(
            InputError, match=r"submit the command: ray job submit --address http://127.0.0.1"
        ):
            refuse_unreachable(address)


@pytest.mark.slow
def test_a_listener_that_is_no_cluster_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GREET_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"no Ray cluster answers at {address}: no answer in 1 s"):
            refuse_unreachable(address)


@pytest.mark.slow
def test_auto_on_a_machine_without_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(process.info["name"] == "gcs_server" for process in psutil.process_iter(["name"])):
        pytest.skip("needs a machine without a Ray cluster, and one runs here")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where a cluster would have left its address
    with pytest.raises(InputError, match=r"no Ray cluster answers at auto: none runs on this machine"):
        refuse_unreachable("auto")


MACHINES = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}]


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        (Resources(), 2),  # a GPU each, where there are any
        (Resources(gpus_per_trial=0), 12),
        (Resources(cpus_per_trial=3, gpus_per_trial=0), 3),
        (Resources(cpus_per_trial=0.5, gpus_per_trial=0, max_concurrent=7), 7),
        (Resources(gpus_per_trial=0.25), 8),
        (Resources(cpus_per_trial=0.1, gpus_per_trial=0.1), 20),
        (Resources(cpus_per_trial=6, gpus_per_trial=1), 1),
        (Resources(gpus_per_trial=2), 1),
        (Resources(cpus_per_trial=8, gpus_per_trial=2), 1),
    ],
)
def test_slots_are_what_the_cluster_holds(resources, slots):
    assert count_slots(resources, MACHINES) == slots


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"gpus_per_trial": 3}, r"--gpus-per-trial must be at most 2, the GPUs of the cluster's .*, got 3"),
        ({"gpus_per_trial": 1.5}, r"--gpus-per-trial must be a whole number above 1, got 1.5"),
        (
            {"gpus_per_trial": 2, "cpus_per_trial": 17},
            r"--cpus-per-trial must be at most 16, for 2 GPUs 2 times what .* largest machine has, got 17",
        ),
        ({"cpus_per_trial": 9}, r"--cpus-per-trial must be at most 8, .*got 9"),
        ({"cpus_per_trial": 0}, r"--cpus-per-trial must be above 0, got 0"),
        ({"gpus_per_trial": -1}, r"--gpus-per-trial must be at least 0, got -1"),
        ({"max_concurrent": 0}, r"--max-concurrent must be at least 1, got 0"),
    ],
)
def test_impossible_resources_are_refused(resources, message):
    with pytest.raises(InputError, match=message):
        count_slots(Resources(**resources), MACHINES)


def test_a_trial_on_several_gpus_may_span_machines():
    machines = [{"CPU": 2.0, "GPU": 1.0}] * 2 + [{"CPU": 4.0, "GPU": 3.0}]
    assert count_slots(Resources(gpus_per_trial=2), machines) == 2
    assert count_slots(Resources(gpus_per_trial=5), machines) == 1
    assert count_slots(Resources(cpus_per_trial=4, gpus_per_trial=2), machines) == 2
    assert Resources(cpus_per_trial=4, gpus_per_trial=2).of_worker == {"CPU": 2, "GPU": 1}
    with pytest.raises(InputError, match=r"2 times some machine of the cluster must have both, got 3 CPUs"):
        count_slots(Resources(cpus_per_trial=6, gpus_per_trial=2), [*machines[:2], {"CPU": 4.0, "GPU": 1.0}])


def test_no_machine_with_both_is_refused():
    with pytest.raises(
        InputError, match=r"some machine of the cluster must have both, got 6 CPUs and 1 GPUs"
    ):
        count_slots(Resources(6, 1), [{"CPU": 8.0}, {"CPU": 2.0, "GPU": 2.0}])


def test_without_gpus_a_trial_gets_none_unless_they_are_asked_for():
    machines = [{"CPU": 4.0}]
    assert Resources().on(machines).gpus_per_trial == 0
    assert count_slots(Resources(), machines) == 4
    assert Resources(gpus_per_trial=1).on(machines).gpus_per_trial == 1


class GrowingCluster:
    """What `Slots` asks of a cluster."""

    dashboard = None

    def __init__(self, *machines: dict[str, float]) -> None:
        self.there = list(machines)

    def machines(self) -> dict[str, dict[str, float]]:
        return dict(enumerate(self.there))  # type: ignore[arg-type]


def test_slots_are_counted_again_as_machines_come_and_go(monkeypatch):
    cluster = GrowingCluster({"CPU": 2.0})
    slots = Slots(Resources(max_concurrent=9), cluster)  # type: ignore[arg-type]
    assert slots() == slots.most == 2
    cluster.there.append({"CPU": 4.0})
    assert slots() == 2, "it asks the cluster every few seconds only"
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_COUNTS", 0.0)
    assert slots() == slots.most == 6
    cluster.there.append({"CPU": 8.0})
    assert slots() == 9
    cluster.there.clear()
    assert slots() == 1, "a trial waits for a machine that can hold it"
    assert slots.most == 9


def test_a_trial_gets_a_gpu_from_when_there_are_any(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_COUNTS", 0.0)
    cluster = GrowingCluster({"CPU": 2.0})
    slots = Slots(Resources(), cluster)  # type: ignore[arg-type]
    assert (slots.share(), slots()) == (0.0, 2)
    cluster.there.append({"CPU": 4.0, "GPU": 3.0})
    assert (slots.share(), slots()) == (1.0, 3)
    cluster.there.pop()
    assert (slots.share(), slots()) == (1.0, 1), "it is waited for: the search goes on with GPUs"
    without = Slots(Resources(gpus_per_trial=0.0), GrowingCluster({"CPU": 2.0, "GPU": 1.0}))  # type: ignore[arg-type]
    assert without.share() == 0.0


def test_a_machine_too_busy_to_start_ray_is_told_so_after_two_attempts(tmp_path, monkeypatch, capsys):
    import ray

    attempts: list[dict[str, object]] = []

    def too_late(**options: object) -> None:
        attempts.append(options)
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")  # of a cluster that was not asked for
    monkeypatch.setattr(ray, "init", too_late)
    with (
        pytest.raises(RuntimeError, match=r"Ray did not start .* twice: .*ray\.log.* goes on with --resume$"),
        module.connect(None, tmp_path / "ray.log"),
    ):
        pass
    assert [options["address"] for options in attempts] == ["local", "local"]
    assert capsys.readouterr().err == "Ray did not start in the 30 s that it waits: once more\n"


RUN_HERE = """
import sys
from pathlib import Path
from tune.cluster import connect
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
from tune.cluster import connect
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
        process.communicate("\n", timeout=120)


@pytest.mark.slow
def test_a_cluster_of_this_machine_listens_on_it_alone_and_asks_for_its_token(
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
    began = time.monotonic()
    with pytest.raises(
        InputError, match=r"refuses this token, or its lack: set RAY_AUTH_MODE=token and RAY_"
    ):
        refuse_unreachable(address)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"refuses this token, or its lack"):
        refuse_unreachable(address)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    refuse_unreachable(address)
    assert time.monotonic() - began < 120
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
from tune.cluster import connect

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
    subprocess.run([sys.executable, "-c", AFTER_A_CLUSTER, str(tmp_path / "ray.log")], check=True)


def _listening_sockets(pid: int) -> set[tuple[str, int]]:
    """Where a process and all that it began listen."""
    process = psutil.Process(pid)
    return {
        (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
        for one in [process, *process.children(recursive=True)]
        for connection in one.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
