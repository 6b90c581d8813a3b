"""A Ray Client as a program: tells what its server says of the cluster, the address and the session.

Run by `tune.cluster.address` with ``HOST:PORT`` of the server; prints a line when Ray is imported, one when
the server answers, and then what it says. What goes wrong is one line on standard error.

The ping tells a refused token at once, for which `ray.init` would try again until its time is up. The server
starts a process for each client, and on a busy machine one in a few dies as it starts (Ray 2.60). That is
tried again: without its log, and without a grace period (`tune.cluster.inquiry`), for which the client would
wait.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import NoReturn

_ATTEMPTS = 4


def main(server: str) -> NoReturn:
    """Ask the server; ends the process, whatever threads Ray has left in it."""
    sys.excepthook = _tell
    import ray
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc
    from ray.util.client.logsclient import LogstreamClient

    LogstreamClient.close = lambda self: None  # noqa: ARG005
    print("ready", flush=True)
    driver = ray_client_pb2_grpc.RayletDriverStub(init_grpc_channel(server))
    ping = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
    driver.ClusterInfo(ping, timeout=60, metadata=[("client_id", "themo")])
    print("answers", flush=True)
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            ray.init(f"ray://{server}", log_to_driver=False)
            break
        except ConnectionAbortedError:
            if not attempts_left:
                raise
    context = ray.get_runtime_context()
    told = context.gcs_address, context.get_session_name()
    ray.shutdown()
    print("cluster", *told, flush=True)
    os._exit(0)


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> NoReturn:  # noqa: ARG001
    said = str(error).strip()
    said = said.splitlines()[-1] if "Traceback" in said else " ".join(said.split())
    print(f"{kind.__name__}: {said}", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
