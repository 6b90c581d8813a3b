"""What `ray.init` does first, as a program: tells the session of a cluster, which no other cluster has.

Run by `tune.cluster.address` with the cluster's address, or ``auto``; prints a line when Ray is imported, and
then the session. Without one it prints an empty line, or ends with a traceback.
"""

from __future__ import annotations

import sys


def main(address: str) -> None:
    """Ask the cluster; imports Ray here, so that who starts the program need not."""
    from ray._private import services
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # its stub has it not

    print("ready", flush=True)
    if address == "auto":
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    client = GcsClient(address=services.canonicalize_bootstrap_address(address))
    print((client.internal_kv_get(b"session_name", b"session") or b"").decode())


if __name__ == "__main__":
    main(sys.argv[1])
