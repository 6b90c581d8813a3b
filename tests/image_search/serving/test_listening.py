from __future__ import annotations

import errno
import socket
from contextlib import closing

import pytest

from themo.errors import InputError
from themo.image_search.serving.listening import Hosts, address_of, is_loopback, listen


def test_a_taken_port_is_refused_in_one_line() -> None:
    with closing(listen("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(InputError) as refused:
            listen("127.0.0.1", port)
    assert str(refused.value) == (
        f"--port {port}: must be free, but another program listens on 127.0.0.1 "
        "(choose another --port; 0: any free port)"
    )
    listen("127.0.0.1", port).close()  # free again at once


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "", "a" * 300, "\udcff"])
def test_a_host_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="--host: must be an address or a name of this machine, got "):
        listen(host, 0)


def test_a_forbidden_port_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(InputError, match=r"^--port 80: cannot listen on 127\.0\.0\.1: Permission denied$"):
        listen("127.0.0.1", 80)


def test_the_address_holds_host_port_and_token() -> None:
    with closing(listen("localhost", 0)) as listener:
        host, port = listener.getsockname()[:2]
        assert is_loopback(listener)
        assert (
            address_of(listener, "secret") == f"http://{f'[{host}]' if ':' in host else host}:{port}/secret/"
        )


def test_ipv6_addresses_have_brackets() -> None:
    try:
        listener = listen("::1", 0)
    except InputError:
        pytest.skip("needs IPv6")
    with closing(listener):
        assert address_of(listener, "secret") == f"http://[::1]:{listener.getsockname()[1]}/secret/"
        assert Hosts.of("::1", listener).accepts("[::1]:80")


def test_every_address_is_served_by_names_of_the_machine() -> None:
    with closing(listen("0.0.0.0", 0)) as listener:  # noqa: S104 -- the subject of the test
        assert not is_loopback(listener)
        name = socket.gethostname()
        assert address_of(listener, "t") == f"http://{name}:{listener.getsockname()[1]}/t/"
        hosts = Hosts.of("0.0.0.0", listener)  # noqa: S104
    for host in (name, f"{name.upper()}:80", "192.168.1.7:8484", "localhost", "[fe80::1]:8484"):
        assert hosts.accepts(host)
    for host in (
        "evil.example",
        f"{name}.evil.example",
        "192.168.1.7.evil.example",
        "",
        ":80",
        "[::1",
        "a:b",
    ):
        assert not hosts.accepts(host)
