from __future__ import annotations

import socket
from pathlib import Path

import psutil
import pytest

from themo.errors import InputError
from tune import address as module
from tune.address import asked_address, refuse_unreachable


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
