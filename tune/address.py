"""Where a Ray cluster is to be found, and whether one is there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import TypeVar

from themo.errors import InputError
from themo.progress import console

LOCAL = "local"
"""Address of a cluster that is yet to be started on this machine, where another one is to be overruled."""

_ANSWER_SECONDS = 9.0
"""For all of it: to find a name's addresses, to reach one of them, to be answered there."""

_REACH_SECONDS = 4.0
"""For each of a name's addresses."""

_IMPORT_SECONDS = 60.0
"""For Ray's import, on a machine with too much to do."""

_IMPORTED_SECONDS = 8.0
"""For an answer, at least, where the import took most of the time."""

_CLIENT_SECONDS = 30.0
"""For a Ray Client's server, which starts a process for each client."""

_CLIENT = "ray://"
_CLIENT_PORT = "10001"

_GREET = """
import sys
from ray._private import services
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._raylet import GcsClient
print("ready", flush=True)
if sys.argv[1] == "auto":
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
client = GcsClient(address=services.canonicalize_bootstrap_address(sys.argv[1]))
print((client.internal_kv_get(b"session_name", b"session") or b"").decode())
"""
"""What `ray.init` does first; tells the session of the cluster, which no other one has."""

_ASK = """
import os, sys
def tell(kind, error, trace):
    said = str(error).strip()
    said = said.splitlines()[-1] if "Traceback" in said else " ".join(said.split())
    print(f"{kind.__name__}: {said}", file=sys.stderr, flush=True)
    os._exit(1)
sys.excepthook = tell
import ray
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc
from ray.util.client.logsclient import LogstreamClient
LogstreamClient.close = lambda self: None
print("ready", flush=True)
server = ray_client_pb2_grpc.RayletDriverStub(init_grpc_channel(sys.argv[1]))
ping = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
server.ClusterInfo(ping, timeout=60, metadata=[("client_id", "themo")])
print("answers", flush=True)
for attempts_left in reversed(range(4)):
    try:
        ray.init("ray://" + sys.argv[1], log_to_driver=False)
        break
    except ConnectionAbortedError:
        if not attempts_left:
            raise
context = ray.get_runtime_context()
told = context.gcs_address, context.get_session_name()
ray.shutdown()
print("cluster", *told, flush=True)
os._exit(0)
"""
"""The ping tells a refused token at once, for which `ray.init` would try again until its time is up.

The server starts a process for each client, and on a busy machine one in a few dies as it starts (Ray 2.60).
That is tried again: without its log, and without a grace period (`_Aside`), for which the client would wait.
"""

_T = TypeVar("_T")


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
    if host and port.isdigit():
        return host, port
    raise InputError(
        f"--address (or RAY_ADDRESS) must be HOST:PORT, auto or ray://HOST[:PORT], got {address!r}"
    )


def _reach(address: str, host: str, port: str, end: float) -> None:
    """Refuse an address where nobody listens."""
    try:
        _until(end, lambda: socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close())
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: a part of the name is too long
        reason = getattr(error, "strerror", None) or str(error) or "timed out"
        raise InputError(f"--address: no Ray cluster answers at {address}: {reason}") from None


def _greet(address: str, end: float) -> str:
    """The session of the cluster where somebody listens.

    Raises:
        InputError: The listener is no Ray cluster, or one that refuses our token.
    """
    with _Aside(_GREET, address) as greeting:
        end = greeting.imported(address, end)
        try:
            session = greeting.line(end)
        except TimeoutError:
            raise _silent(address, _ANSWER_SECONDS) from None
        said = greeting.errors()
    _refuse_token(address, said)
    if "ConnectionError" in said:
        raise InputError(f"--address: no Ray cluster answers at {address}: none runs on this machine")
    return session  # whatever else it was, `ray.init` says it better


def _ask(address: str, host: str, port: str, end: float) -> tuple[str, str]:
    """What a Ray Client's server says of its cluster: the address, and the session.

    Raises:
        InputError: The listener is no such server, it refuses our token, or it serves no client of our kind.
    """
    with _Aside(_ASK, f"{host}:{port}") as client:
        end = client.imported(address, end)
        try:
            answers = client.line(end)
        except TimeoutError:
            raise _silent(address, _ANSWER_SECONDS) from None
        try:
            told = client.line(time.monotonic() + _CLIENT_SECONDS) if answers else ""
        except TimeoutError:
            raise _silent(address, _CLIENT_SECONDS) from None
        said = client.errors()
    if told.startswith("cluster ") and len(told.split()) == 3:
        _, own, session = told.split()
        return own, session
    _refuse_token(address, said)
    if not answers:
        raise InputError(f"--address: no Ray cluster answers at {address}: no Ray Client's server is there")
    raise _unjoinable(address, host, said.splitlines()[-1] if said else "the client ended")


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


class _Aside:
    """A process that imports Ray and asks; it can be given up, where Ray's attempts go on for minutes."""

    def __init__(self, script: str, address: str) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        # under `uv run` a client would send the working directory
        quiet = {
            "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | quiet,
        )

    def __enter__(self) -> _Aside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def imported(self, address: str, end: float) -> float:
        """Wait for its import of Ray; a deadline that leaves time for an answer after it."""
        try:
            self.line(time.monotonic() + _IMPORT_SECONDS)
        except TimeoutError:
            raise InputError(
                f"--address: the cluster at {address} cannot be asked: the import of Ray takes more than "
                f"{_IMPORT_SECONDS:.0f} s here"
            ) from None
        return max(end, time.monotonic() + _IMPORTED_SECONDS)

    def line(self, end: float) -> str:
        """The next that it prints, empty where it has ended; raises `TimeoutError` at a deadline."""
        printed = self._process.stdout
        return _until(end, printed.readline).strip() if printed else ""

    def errors(self) -> str:
        """What it wrote on standard error."""
        self._errors.seek(0)
        return self._errors.read()


def _until(end: float, call: Callable[[], _T]) -> _T:
    """What a call returns, in a thread that is given up at a deadline: resolvers and pipes know none.

    Raises:
        TimeoutError: It has not returned by then.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future.result(max(0.0, end - time.monotonic()))
