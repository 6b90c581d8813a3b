"""Where a Ray cluster is to be found, and whether one is there."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

from themo.errors import InputError
from themo.process.progress import console
from tune.cluster import client_query as asking
from tune.cluster import probe as greeting
from tune.cluster.inquiry import Inquiry, call_with_deadline

LOCAL = "local"
"""Address of a cluster that is yet to be started on this machine, where another one is to be overruled."""

_ANSWER_SECONDS = 9.0
"""For all of it: to find a name's addresses, to reach one of them, to be answered there."""

_REACH_SECONDS = 4.0
"""For each of a name's addresses."""

_CLIENT_SECONDS = 30.0
"""For a Ray Client's server, which starts a process for each client."""

_LOST = ("ConnectionError:", "ConnectionAbortedError:", "_InactiveRpcError:")
"""How a client ends whose process on the server has died: on a busy machine some do, and another may not."""

_CLIENT = "ray://"
_CLIENT_PORT = "10001"


def asked_address(given: str | None) -> str | None:
    """The address that ``--address`` gives, or else RAY_ADDRESS, which Ray sets for submitted jobs."""
    return os.environ.get("RAY_ADDRESS") or None if given is None else given


def cluster_behind(address: str | None) -> str | None:
    """The address at which to join the cluster of a Ray Client's server; any other address is its own.

    Ray Tune drives a search from within its cluster: the client is only asked where that is.

    Args:
        address: As for `refuse_unreachable`, or ``ray://HOST[:PORT]``.

    Raises:
        InputError: No such server answers within seconds, it refuses our token, or the cluster's own address
            is not reached from here.
    """
    if address == "auto" and os.environ.get("RAY_ADDRESS", "").startswith(_CLIENT):
        address = os.environ["RAY_ADDRESS"]  # as Ray has it
    if address is None or not address.startswith(_CLIENT):
        return address
    host, port = _parts(address)
    end = time.monotonic() + _ANSWER_SECONDS
    _reach(address, host, port, end)
    own, session = _ask(address, host, port, end)
    for candidate in dict.fromkeys((own, f"{host}:{own.rpartition(':')[2]}")):
        _greeted.pop(candidate, None)  # another cluster may be there by now
        with suppress(InputError):
            if _session_at(candidate) == session:  # else 127.0.0.1 of another machine, or a tunnel's end
                console.print(f"The cluster of {address} is joined at {candidate}")
                return candidate
    raise _unjoinable(address, host, f"its own address, {own}, is not reached")


def refuse_unreachable(address: str | None) -> None:
    """Refuse an address that no search can run at, within seconds; Ray itself would try for minutes.

    Args:
        address: ``HOST:PORT``, ``auto``, or None or ``local`` for a cluster that is yet to be started.

    Raises:
        InputError: Nobody listens there, it is no Ray cluster, or it refuses our token.
    """
    if address not in (None, LOCAL):
        _session_at(address)


def submission(host: str) -> str:
    """The command that runs a search on a cluster from outside."""
    return f"ray job submit --address http://{host}:8265 -- python -m themo tune --address auto"


def _session_at(address: str) -> str:
    """The session of the cluster at an address; raises as `refuse_unreachable` does."""
    end = time.monotonic() + _ANSWER_SECONDS
    if address != "auto":
        _reach(address, *_parts(address), end)
    if address not in _greeted:
        _greeted[address] = _greet(address, end)
    return _greeted[address]


_greeted: dict[str, str] = {}
"""A search asks twice: before it prepares data, and when it connects."""


def _parts(address: str) -> tuple[str, str]:
    """Host and port."""
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if address.startswith(_CLIENT) and ":" not in address.removeprefix(_CLIENT):
        host, port = port, _CLIENT_PORT
    if host and "/" not in host and port.isdigit():
        return host, port
    raise InputError(
        f"--address (or RAY_ADDRESS) must be HOST:PORT, auto or ray://HOST[:PORT], got {address!r}"
    )


def _reach(address: str, host: str, port: str, end: float) -> None:
    """Refuse an address where nobody listens."""
    try:
        call_with_deadline(
            end, lambda: socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
        )
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: a part of the name is too long
        reason = getattr(error, "strerror", None) or str(error) or "timed out"
        raise InputError(f"--address: no Ray cluster answers at {address}: {reason}") from None


def _greet(address: str, end: float) -> str:
    """The session of the cluster where somebody listens.

    Raises:
        InputError: The listener is no Ray cluster, or one that refuses our token.
    """
    with Inquiry(greeting.__file__, address) as inquiry:
        end = inquiry.imported(address, end)
        try:
            session = inquiry.line(end)
        except TimeoutError:
            raise _silent(address, _ANSWER_SECONDS) from None
        said = inquiry.errors()
    _refuse_token(address, said)
    if "ConnectionError" in said:
        raise InputError(f"--address: no Ray cluster answers at {address}: none runs on this machine")
    return session  # whatever else it was, `ray.init` says it better


def _ask(address: str, host: str, port: str, end: float) -> tuple[str, str]:
    """What a Ray Client's server says of its cluster: the address, and the session.

    Raises:
        InputError: The listener is no such server, it refuses our token, or it serves no client of our kind.
    """
    last_start = time.monotonic() + _CLIENT_SECONDS
    while True:
        with Inquiry(asking.__file__, f"{host}:{port}") as inquiry:
            end = inquiry.imported(address, end)
            try:
                answers = inquiry.line(end)
            except TimeoutError:
                raise _silent(address, _ANSWER_SECONDS) from None
            try:
                told = inquiry.line(time.monotonic() + _CLIENT_SECONDS) if answers else ""
            except TimeoutError:
                raise _silent(address, _CLIENT_SECONDS) from None
            said = inquiry.errors()
        if told.startswith("cluster ") and len(told.split()) == 3:
            _, own, session = told.split()
            return own, session
        _refuse_token(address, said)
        if not answers:
            raise InputError(
                f"--address: no Ray cluster answers at {address}: no Ray Client's server is there"
            )
        reason = said.splitlines()[-1] if said else "the client ended"
        if not reason.startswith(_LOST) or time.monotonic() > last_start:
            raise _unjoinable(address, host, reason)


def _refuse_token(address: str, said: str) -> None:
    if any(sign in said for sign in ("AuthenticationError", "an authentication token", "UNAUTHENTICATED")):
        raise InputError(  # a wrong one, or none
            f"--address: the cluster at {address} refuses this token, or its lack: set RAY_AUTH_MODE=token "
            f"and RAY_AUTH_TOKEN_PATH to a file of the cluster's token (on its head: ray get-auth-token)"
        )


def _silent(address: str, seconds: float) -> InputError:
    return InputError(f"--address: no Ray cluster answers at {address}: no answer in {seconds:.0f} s")


def _unjoinable(address: str, host: str, reason: str) -> InputError:
    return InputError(
        f"--address: the cluster of {address} cannot be joined from here ({reason}): give HOST:PORT on one "
        f"of its machines, or submit the command: {submission(host)}"
    )
