"""The address of a Ray cluster, and the check that a cluster answers there."""

from __future__ import annotations

import functools
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future
from threading import Thread

from themo.errors import InputError
from tune.cluster import probe
from tune.cluster.resources import LOCAL

_ANSWER_SECONDS = 9.0
"""Timeout of name resolution and connection, and again of the cluster's answer."""

_REACH_SECONDS = 4.0
"""Timeout of a connection, per IP address of a name."""

_IMPORT_SECONDS = 60.0
"""Timeout of the import of Ray on a busy machine."""

_RAY_CLIENT = re.compile(r"ray://(?P<host>\[[^\]]*\]|[^:/?]*)")


def asked_address(given: str | None) -> str | None:
    """The address of ``--address``, or else of RAY_ADDRESS, which Ray sets for submitted jobs."""
    return os.environ.get("RAY_ADDRESS") or None if given is None else given


def refuse_unreachable(address: str | None) -> None:
    """Refuse an unusable cluster address within seconds; Ray itself would try for minutes.

    Args:
        address: ``HOST:PORT``, ``auto``, or None or ``local`` to start a cluster on this machine.

    Raises:
        InputError: The address is malformed, no process listens there, the listener is not a Ray cluster, or
            the cluster refuses our token.
    """
    if address in (None, LOCAL):
        return
    _refuse_ray_client(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)  # as Ray reads it
    if address != "auto":
        _reach(address)
    _refuse_stranger(address)


def submission(host: str) -> str:
    """The command that runs a search on a cluster from outside."""
    return f"ray job submit --address http://{host}:8265 -- python -m themo tune --address auto"


def _refuse_ray_client(address: str) -> None:
    """Refuse the address of a Ray Client's server: Ray Tune must run on a machine of the cluster."""
    if client := _RAY_CLIENT.match(address):
        raise InputError(
            f"--address (or RAY_ADDRESS) must be HOST:PORT or auto, got {address!r}: a search cannot run "
            f"through a Ray Client; submit it to the cluster instead: {submission(client['host'] or 'HEAD')}"
        )


def _reach(address: str) -> None:
    """Refuse an address on which no process listens."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise InputError(f"--address (or RAY_ADDRESS) must be HOST:PORT, auto or local, got {address!r}")
    if host.startswith("[") and host.endswith("]"):  # IPv6: brackets are part of the address, not of the host
        host = host[1:-1]
    reached: Future[None] = Future()

    def connect() -> None:
        try:
            socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
            reached.set_result(None)
        except Exception as error:
            reached.set_exception(error)

    Thread(target=connect, daemon=True).start()  # abandoned at the deadline: a system's resolver has none
    try:
        reached.result(_ANSWER_SECONDS)
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: a label of the name is too long
        reason = getattr(error, "strerror", None) or str(error) or "timed out"
        raise InputError(f"--address: no Ray cluster answers at {address}: {reason}") from None


@functools.cache  # a search checks twice: before it prepares data, and when it connects
def _refuse_stranger(address: str) -> None:
    """Refuse a listener that is not a Ray cluster, or a cluster that refuses our token."""
    try:
        answer = subprocess.run(
            # -P: modules beside the script or in the working directory do not replace others
            [sys.executable, "-P", probe.__file__, address, str(_ANSWER_SECONDS)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
            timeout=_IMPORT_SECONDS + _ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"--address: the cluster at {address} cannot be checked: the import of Ray takes more than "
            f"{_IMPORT_SECONDS:.0f} s on this machine"
        ) from None
    refusals = ("AuthenticationError", "an authentication token", "UNAUTHENTICATED")
    if any(sign in answer.stderr for sign in refusals):
        raise InputError(
            f"--address: the cluster at {address} refuses this token, or needs one: set RAY_AUTH_MODE=token "
            f"and RAY_AUTH_TOKEN_PATH to a file of the cluster's token (on its head: ray get-auth-token)"
        )
    if answer.returncode == -signal.SIGALRM:
        raise InputError(
            f"--address: no Ray cluster answers at {address}: no answer in {_ANSWER_SECONDS:.0f} s"
        )
    if "ConnectionError" in answer.stderr:
        raise InputError(f"--address: no Ray cluster answers at {address}: none runs on this machine")
    # `ray.init` explains any other failure better
