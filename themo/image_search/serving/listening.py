"""The port of a served page: opening it, and the names by which a browser may reach it."""

from __future__ import annotations

import errno
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from themo.errors import InputError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8484
BACKLOG = 512
"""Greatest number of connections that wait to be accepted."""

_LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))
_HOST_HEADER = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]+))(?::\d{1,5})?")


def listen(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket.

    The socket listens at once, so that a second server on the port fails before it does any work.

    Args:
        host: Address or name of this machine.
        port: Port; 0: any free one.

    Raises:
        InputError: The host is not an address of this machine, or the port is taken or forbidden.
    """
    if not host:  # the system would listen on every address
        raise InputError("--host: must be an address or a name of this machine, got ''")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InputError(f"--host: must be an address or a name of this machine, got {host!r}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        # a closed port can be opened again at once; on Linux and macOS a port in use stays refused
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise InputError(_refusal(host, port, error)) from None
    return listener


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"--port {port}: must be free, but another program listens on {host} "
            "(choose another --port; 0: any free port)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host: must be an address or a name of this machine, got {host!r}"
    return f"--port {port}: cannot listen on {host}: {error.strerror}"


@dataclass(frozen=True)
class Hosts:
    """The values of the ``Host`` header that a server accepts.

    A page of another site can make its own name lead to this machine (DNS rebinding) and then read what is
    served here; its requests carry that name. The port is not compared, since tunnels change it.

    Attributes:
        names: Accepted addresses and names, in lower case.
        any_address: Whether every IP address is accepted: another site cannot own an address as its name.
    """

    names: frozenset[str]
    any_address: bool

    @classmethod
    def of(cls, host: str, listener: socket.socket) -> Hosts:
        """Return the hosts of a server that was asked to listen on `host`."""
        names = _LOOPBACK | {host.lower()}
        if is_loopback(listener):
            return cls(names, any_address=False)
        own = socket.gethostname().lower()
        short = own.partition(".")[0]
        return cls(names | {own, short, f"{short}.local"}, any_address=True)

    def accepts(self, header: str) -> bool:
        """Whether a ``Host`` header, with or without a port, is accepted."""
        match = _HOST_HEADER.fullmatch(header)
        if match is None:
            return False
        host = (match["v6"] or match["name"]).lower()
        return host in self.names or (self.any_address and _is_address(host))


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches a listening socket."""
    return ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def address_of(listener: socket.socket, token: str) -> str:
    """Return the address of the page, for a browser.

    A socket that listens on every address gets this machine's name.
    """
    host, port = listener.getsockname()[:2]
    if ip_address(host.partition("%")[0]).is_unspecified:
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{token}/"


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        ip_address(host)
        return True
    return False
