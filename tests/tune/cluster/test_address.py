from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from machines import Head, head

from themo.errors import InputError
from tune.cluster import address as module
from tune.cluster import client_query as asking
from tune.cluster import inquiry
from tune.cluster import probe as greeting
from tune.cluster.address import asked_address, cluster_behind, refuse_unreachable

OUTSIDE = "ray job submit --address http://head:8265 -- python -m themo tune --address auto"


def look_for(address: str | None) -> None:
    """As the command does."""
    refuse_unreachable(cluster_behind(address))


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens(scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError) as caught:
            look_for(address)
    assert str(caught.value) == f"--address: no Ray cluster answers at {address}: Connection refused"


@pytest.mark.parametrize("address", [None, "local"])
def test_a_cluster_that_is_yet_to_be_started_is_not_looked_for(address: str | None) -> None:
    refuse_unreachable(address)


def test_a_submitted_jobs_address_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert [asked_address(given) for given in (None, "local", "auto")] == ["head:6379", "local", "auto"]
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert asked_address(None) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "here",
        "host:",
        ":6379",
        "http://127.0.0.1:8265",
        "host:port",
        "ray://",
        "ray://host:",
        "ray://:1",
        "ray://host:x",
    ],
)
def test_an_address_of_no_known_form(address: str) -> None:
    with pytest.raises(InputError) as caught:
        look_for(address)
    rule = "--address (or RAY_ADDRESS) must be HOST:PORT, auto or ray://HOST[:PORT]"
    assert str(caught.value) == f"{rule}, got '{address}'"


@pytest.mark.parametrize("address", ["a..b:1", f"{'a' * 80}.example:1"])
def test_a_name_that_can_be_nobodys(address: str) -> None:
    with pytest.raises(InputError, match=r"no Ray cluster answers at .*\w"):
        look_for(address)


def test_the_time_to_find_and_reach_a_machine_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = threading.Event()

    def resolve(where: tuple[str, int], timeout: float) -> None:
        assert where == ("head", 6379)
        given_up.wait()  # as long as the system's resolver likes

    monkeypatch.setattr(socket, "create_connection", resolve)
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.1)
    with pytest.raises(InputError) as caught:
        look_for("head:6379")
    given_up.set()
    assert str(caught.value) == "--address: no Ray cluster answers at head:6379: timed out"


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Hosts and ports to which a connection was opened; none is."""
    hosts: list[tuple[str, str]] = []
    monkeypatch.setattr(module, "_reach", lambda *asked: hosts.append(asked[1:3]))
    return hosts


@pytest.fixture
def replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, str], None]:
    """Puts another program in the place of one that asks Ray."""

    def put(program: ModuleType, script: str) -> None:
        path = tmp_path / "program.py"
        path.write_text(script, encoding="utf-8")
        monkeypatch.setattr(program, "__file__", str(path))

    return put


def test_a_slow_import_moves_the_deadline_and_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
    reached: list[tuple[str, str]],
    replace: Callable[[ModuleType, str], None],
) -> None:
    replace(greeting, "import time; time.sleep(0.5); print('ready', flush=True); print('session')")
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.1)
    look_for("slow:6379")
    monkeypatch.setattr(inquiry, "_IMPORT_SECONDS", 0.1)
    with pytest.raises(
        InputError, match=r"at slower:6379 cannot be asked: the import of Ray takes more than 0 s"
    ):
        look_for("slower:6379")
    assert reached == [("slow", "6379"), ("slower", "6379")]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what a client's server tells, and the sessions of the clusters that answer here."""

    def tell(own: str, **sessions: str) -> None:
        def session_at(address: str) -> str:
            if address not in sessions:
                raise InputError("--address: no Ray cluster answers")
            return sessions[address]

        monkeypatch.setattr(module, "_ask", lambda *_: (own, "its session"))
        monkeypatch.setattr(module, "_session_at", session_at)

    return tell


@pytest.mark.parametrize("address", [None, "local", "auto", "head:6379"])
def test_an_address_that_is_no_clients_is_its_own(address: str | None) -> None:
    assert cluster_behind(address) == address


@pytest.mark.parametrize(
    ("sessions", "address"),
    [
        ({"10.0.0.5:6379": "its session"}, "10.0.0.5:6379"),
        ({"10.0.0.5:6379": "another", "head:6379": "its session"}, "head:6379"),
        ({"head:6379": "its session"}, "head:6379"),
    ],
)
def test_the_cluster_of_a_client_address_is_joined_at_its_own(
    reached: list[tuple[str, str]],
    told: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sessions: dict[str, str],
    address: str,
) -> None:
    told("10.0.0.5:6379", **sessions)
    assert cluster_behind("ray://head") == address
    assert capsys.readouterr().err == f"The cluster of ray://head is joined at {address}\n"
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:7")
    assert cluster_behind("auto") == cluster_behind(asked_address(None)) == address
    assert reached == [("head", "10001"), ("head", "7"), ("head", "7")]


@pytest.mark.parametrize("sessions", [{}, {"10.0.0.5:6379": "another", "head:6379": ""}])
def test_an_unreached_client_address_is_refused_with_a_command(
    reached: list[tuple[str, str]], told: Callable[..., None], sessions: dict[str, str]
) -> None:
    told("10.0.0.5:6379", **sessions)
    with pytest.raises(InputError) as caught:
        cluster_behind("ray://head")
    assert str(caught.value) == (
        "--address: the cluster of ray://head cannot be joined from here (its own address, 10.0.0.5:6379, "
        f"is not reached): give HOST:PORT on one of its machines, or submit the command: {OUTSIDE}"
    )


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("", r"no Ray cluster answers at ray://head: no Ray Client's server is there"),
        (
            "print('answers', flush=True); raise RuntimeError('Version mismatch')",
            r"cannot be joined from here \(RuntimeError: Version mismatch\): .* submit the command: ray job",
        ),
        ("import time; time.sleep(600)", r"no answer in 1 s$"),
        ("import time; print('answers', flush=True); time.sleep(600)", r"no answer in 2 s$"),
    ],
)
def test_a_client_server_that_serves_no_client(
    reached: list[tuple[str, str]],
    replace: Callable[[ModuleType, str], None],
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    message: str,
) -> None:
    replace(asking, f"print('ready', flush=True); {script}")
    is_silent = script.startswith("import time; time.sleep")
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 1.0 if is_silent else 60.0)
    monkeypatch.setattr(inquiry, "_IMPORTED_SECONDS", 1.0 if is_silent else 60.0)
    monkeypatch.setattr(module, "_CLIENT_SECONDS", 2.0 if "answers" in script and "sleep" in script else 60.0)
    with pytest.raises(InputError, match=message):
        cluster_behind("ray://head")


DYING = """
import pathlib, sys
print("ready", "answers", sep="\\n", flush=True)
attempts = pathlib.Path(__file__).with_name("attempts")
attempts.open("a").write("x")
if len(attempts.read_text()) < 3:
    sys.exit("noise\\nConnectionError: the Ray client has already been disconnected")
print("cluster 10.0.0.5:6379 session")
"""


def test_a_client_whose_server_process_died_is_retried(
    reached: list[tuple[str, str]],
    replace: Callable[[ModuleType, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace(asking, DYING)
    monkeypatch.setattr(module, "_CLIENT_SECONDS", 120.0)
    monkeypatch.setattr(module, "_session_at", lambda _: "session")
    assert cluster_behind("ray://head") == "10.0.0.5:6379"


def test_clients_whose_server_processes_keep_dying_fail(
    reached: list[tuple[str, str]],
    replace: Callable[[ModuleType, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace(asking, DYING.replace("< 3", "< 1_000"))
    monkeypatch.setattr(module, "_CLIENT_SECONDS", 4.0)
    with pytest.raises(InputError, match=r"cannot be joined from here \(ConnectionError: the Ray client has"):
        cluster_behind("ray://head")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_listener_that_is_no_cluster_is_given_up(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(inquiry, "_IMPORTED_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"no Ray cluster answers at {address}: no answer in 1 s"):
            look_for(address)


@pytest.mark.slow
def test_auto_on_a_machine_without_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(process.info["name"] == "gcs_server" for process in psutil.process_iter(["name"])):
        pytest.skip("needs a machine without a Ray cluster, and one runs here")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where a cluster would have left its address
    with pytest.raises(InputError, match=r"no Ray cluster answers at auto: none runs on this machine"):
        refuse_unreachable("auto")


JOIN = """
import sys
from pathlib import Path
from tune.cluster import address
from tune.cluster.connection import connect
address._CLIENT_SECONDS = 120.0
with connect(sys.argv[1], Path(sys.argv[2])):
    import ray
    print(ray.get(ray.remote(lambda: "a task").remote()), file=sys.__stdout__)
"""


@pytest.fixture(scope="module")
def served() -> Iterator[Head]:
    with head(cpus=1) as found:
        yield found


@pytest.mark.slow
def test_a_cluster_is_joined_by_the_address_for_clients(served: Head, tmp_path: Path) -> None:
    address = f"ray://127.0.0.1:{served.client_port}"
    joined = subprocess.run(
        [sys.executable, "-c", JOIN, address, str(tmp_path / "ray.log")],
        env=os.environ | served.joining,
        capture_output=True,
        text=True,
        check=False,
    )
    assert joined.stdout == "a task\n", joined.stderr
    where = joined.stderr.removeprefix(f"The cluster of {address} is joined at ").strip()
    assert where.endswith(f":{served.port}"), joined.stderr


@pytest.mark.slow
@pytest.mark.parametrize("token", ["another", None])
def test_a_server_for_clients_asks_for_the_token(
    served: Head,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
) -> None:
    address = f"ray://127.0.0.1:{served.client_port}"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    with pytest.raises(
        InputError, match=rf"the cluster at {address} refuses this token, or its lack: set RAY"
    ):
        cluster_behind(address)
