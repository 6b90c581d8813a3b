from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from themo.errors import InputError
from tune.cluster import address as module
from tune.cluster import probe
from tune.cluster.address import asked_address, refuse_unreachable

OUTSIDE = "ray job submit --address http://head:8265 -- python -m themo tune --address auto"


def refusal(address: str) -> str:
    with pytest.raises(InputError) as caught:
        refuse_unreachable(address)
    return str(caught.value)


def test_an_address_where_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert refusal(address) == f"--address: no Ray cluster answers at {address}: Connection refused"


def test_ipv6_address_in_brackets_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(module, "_refuse_stranger", asked.append)
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with listener:
        address = f"[::1]:{listener.getsockname()[1]}"
        refuse_unreachable(address)
    assert asked == [address]


@pytest.mark.parametrize("address", [None, "local"])
def test_a_cluster_to_be_started_is_not_looked_for(address: str | None) -> None:
    refuse_unreachable(address)


def test_a_submitted_jobs_address_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert [asked_address(given) for given in (None, "local", "auto")] == ["head:6379", "local", "auto"]
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert asked_address(None) is None


@pytest.mark.parametrize("address", ["", "here", "host:", ":6379", "http://127.0.0.1:8265", "host:port"])
def test_an_address_of_no_known_form(address: str) -> None:
    rule = "--address (or RAY_ADDRESS) must be HOST:PORT, auto or local"
    assert refusal(address) == f"{rule}, got '{address}'"


@pytest.mark.parametrize("address", ["a..b:1", f"{'a' * 80}.example:1"])
def test_a_name_that_can_be_nobodys(address: str) -> None:
    assert refusal(address).startswith(f"--address: no Ray cluster answers at {address}: ")


@pytest.mark.parametrize("rest", ["", ":10001", ":x", "/", "?a=b", ":7/path"])
@pytest.mark.parametrize("is_auto", [False, True])
def test_ray_client_address_refused_with_command(
    monkeypatch: pytest.MonkeyPatch, rest: str, is_auto: bool
) -> None:
    address = f"ray://head{rest}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert refusal("auto" if is_auto else address) == (
        f"--address (or RAY_ADDRESS) must be HOST:PORT or auto, got '{address}': a search cannot run "
        f"through a Ray Client; submit it to the cluster instead: {OUTSIDE}"
    )


@pytest.mark.parametrize(
    ("address", "host"), [("ray://[::1]:10001", "[::1]"), ("ray://", "HEAD"), ("ray://:1", "HEAD")]
)
def test_ray_client_command_names_host(address: str, host: str) -> None:
    assert f"ray job submit --address http://{host}:8265 -- python" in refusal(address)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_every_ray_client_address_refused(rest: str) -> None:
    assert "a search cannot run through a Ray Client" in refusal(f"ray://{rest}")


def test_command_refuses_ray_client_with_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "themo", "tune", "--address", "ray://head:10001"]
    ended = subprocess.run(
        [*command, "--logs-dir", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert line.endswith(OUTSIDE)
    assert not any(tmp_path.iterdir())


def test_the_time_to_find_and_reach_a_machine_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = threading.Event()

    def resolve(where: tuple[str, int], timeout: float) -> None:
        assert where == ("head", 6379)
        given_up.wait()  # as long as the system's resolver likes

    monkeypatch.setattr(socket, "create_connection", resolve)
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.1)
    message = refusal("head:6379")
    given_up.set()
    assert message == "--address: no Ray cluster answers at head:6379: timed out"


@pytest.fixture
def ask_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the program that asks Ray; every address has a listener."""

    def put(script: str) -> None:
        path = tmp_path / "program.py"
        path.write_text(script, encoding="utf-8")
        monkeypatch.setattr(probe, "__file__", str(path))
        module._refuse_stranger.cache_clear()

    monkeypatch.setattr(module, "_reach", lambda _: None)
    return put


def test_cluster_that_answered_is_asked_once(ask_with: Callable[[str], None], tmp_path: Path) -> None:
    ask_with("import pathlib; pathlib.Path(__file__).with_name('asked').open('a').write('x')")
    refuse_unreachable("head:6379")
    refuse_unreachable("head:6379")
    assert (tmp_path / "asked").read_text() == "x"


def test_probe_gets_address_and_leaves_no_trace_in_ray(
    ask_with: Callable[[str], None], tmp_path: Path
) -> None:
    ask_with(
        "import os, pathlib, sys; pathlib.Path(__file__).with_name('asked').write_text("
        "' '.join([*sys.argv[1:], os.environ['RAY_USAGE_STATS_ENABLED']]))"
    )
    refuse_unreachable("head:6379")
    assert (tmp_path / "asked").read_text() == f"head:6379 {module._ANSWER_SECONDS} 0"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise SystemExit('AuthenticationError: token')", "the cluster at head:6379 refuses this token"),
        ("raise SystemExit('needs an authentication token')", "the cluster at head:6379 refuses this token"),
        ("raise ConnectionError('none found')", "no Ray cluster answers at head:6379: none runs on this mac"),
        ("import os; os.kill(os.getpid(), 14)", "no Ray cluster answers at head:6379: no answer in 9 s"),
    ],
)
def test_probe_that_fails_is_a_refusal(ask_with: Callable[[str], None], script: str, message: str) -> None:
    ask_with(script)
    for _ in range(2):  # a refusal is not remembered
        assert refusal("head:6379").startswith(f"--address: {message}")


def test_probe_failure_of_another_kind_is_left_to_ray(ask_with: Callable[[str], None]) -> None:
    ask_with("raise RuntimeError('another version of Ray')")
    refuse_unreachable("head:6379")


def test_import_of_ray_has_its_own_deadline(
    ask_with: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_with("import time; time.sleep(600)")
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(module, "_IMPORT_SECONDS", 0.2)
    assert "cannot be checked: the import of Ray takes more than 0 s" in refusal("head:6379")


@pytest.mark.slow
def test_probe_of_silent_listener_ends_by_alarm() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ended = subprocess.run(
            [sys.executable, "-P", probe.__file__, f"127.0.0.1:{silent.getsockname()[1]}", "0.5"],
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
            check=False,
            timeout=120,
        )
    assert ended.returncode == -signal.SIGALRM


@pytest.mark.slow
def test_a_listener_that_is_no_cluster_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert refusal(address) == f"--address: no Ray cluster answers at {address}: no answer in 1 s"


@pytest.mark.slow
def test_auto_on_a_machine_without_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(process.info["name"] == "gcs_server" for process in psutil.process_iter(["name"])):
        pytest.skip("needs a machine without a Ray cluster, and one runs here")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where a cluster would have left its address
    assert refusal("auto") == "--address: no Ray cluster answers at auto: none runs on this machine"
