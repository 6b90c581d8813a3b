"""Where a Ray cluster is to be found, and whether one is there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from functools import cache

from themo.errors import InputError

LOCAL = "local"
"""Address of a cluster that is yet to be started on this machine, where another one is to be overruled."""

_REACH_SECONDS = 5.0
_GREET_SECONDS = 8.0

_CLIENT = "ray://"

_GREET = """
import sys
from ray._private import services
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._raylet import GcsClient
print("ready", flush=True)
if sys.argv[1] == "auto":
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
GcsClient(address=services.canonicalize_bootstrap_address(sys.argv[1]))
"""
"""What `ray.init` does first. A process of its own can be given up: Ray's attempts go on for minutes."""


def asked_address(given: str | None) -> str | None:
    """The address that ``--address`` gives, or else RAY_ADDRESS, which Ray sets for submitted jobs."""
    return os.environ.get("RAY_ADDRESS") or None if given is None else given


def refuse_unreachable(address: str | None) -> None:
    """Refuse an address that no search can run at, within seconds; Ray itself would try for minutes.

    Args:
        address: ``HOST:PORT``, ``auto``, or None or ``local`` for a cluster that is yet to be started.

    Raises:
        InputError: Nobody listens there, it is no Ray cluster, it refuses our token, or it is of the form
            ``ray://``, of which Ray Tune can make no use.
    """
    if address in (None, LOCAL):
        return
    is_client = address.startswith(_CLIENT)
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"--address: no Ray cluster answers at {address}: {reason}") from None
    elif address != "auto":
        raise InputError(f"--address (or RAY_ADDRESS) must be HOST:PORT or auto, got {address!r}")
    if is_client:
        raise InputError(
            f"--address: Ray Tune drives a search from within its cluster, not through {address}: give "
            f"HOST:PORT on one of its machines, or submit the command: ray job submit --address "
            f"http://{host}:8265 -- python -m themo tune --address auto"
        )
    _greet(address)


@cache  # a search asks twice: before it prepares data, and when it connects
def _greet(address: str) -> None:
    """Refuse the address of a listener that is no Ray cluster, or one that refuses our token."""
    with subprocess.Popen(
        [sys.executable, "-c", _GREET, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as greeting:
        if greeting.stdout is not None:
            greeting.stdout.readline()  # Ray is imported: only now does the time count
        try:
            _, said = greeting.communicate(timeout=_GREET_SECONDS)
        except subprocess.TimeoutExpired:
            greeting.kill()
            raise InputError(
                f"--address: no Ray cluster answers at {address}: no answer in {_GREET_SECONDS:.0f} s"
            ) from None
    if "AuthenticationError" in said or "find an authentication token" in said:  # a wrong one, or none
        raise InputError(
            f"--address: the cluster at {address} refuses this token, or its lack: set RAY_AUTH_MODE=token "
            f"and RAY_AUTH_TOKEN_PATH to a file of the cluster's token (on its head: ray get-auth-token)"
        )
    if "ConnectionError" in said:
        raise InputError(f"--address: no Ray cluster answers at {address}: none runs on this machine")
    # whatever else it was, `ray.init` says it better
