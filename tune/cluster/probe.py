"""A program that asks a Ray cluster for its session, as `ray.init` does; Ray's own attempts last minutes.

Run by `tune.cluster.address` with the cluster's address, or ``auto``, and the seconds to wait for an answer.
Exits with 0 if the cluster answers, with a traceback if it refuses, and by SIGALRM if it stays silent.
"""

from __future__ import annotations

import signal
import sys


def main(address: str, seconds: float) -> None:
    """Connect to the cluster; import Ray here instead of in the caller."""
    from ray._private import services
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available,
    )
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # missing in Ray's stub

    signal.setitimer(signal.ITIMER_REAL, seconds)  # the import, slow on a busy machine, does not count
    if address == "auto":
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    client = GcsClient(address=services.canonicalize_bootstrap_address(address))
    client.internal_kv_get(b"session_name", b"session")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
