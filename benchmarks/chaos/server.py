"""A real MLflow server that can be killed and restarted."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_PORTS = range(20_000, 30_000)
"""Ports outside the ephemeral range: an ephemeral port could be taken while the server is down."""

_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """An unused port, a different one at each call."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as free, suppress(OSError):
            free.bind((host, port))
            if port not in _given:
                _given.add(port)
                return port


class ServerOnSqlite:
    """`mlflow server` over a database in a folder, on a free port of 127.0.0.1; started on entering."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.database = folder / "server.db"
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ServerOnSqlite:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def is_running(self) -> bool:
        """Whether the server is started and not killed."""
        return self._process is not None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.begin()
        self.await_answer()

    def begin(self) -> None:
        """Start the server without waiting."""
        options = [
            *("--backend-store-uri", f"sqlite:///{self.database}"),
            *("--artifacts-destination", str(self._folder / "artifacts")),
            *("--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"),
        ]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )

    def await_answer(self) -> None:
        """Wait until the server answers."""
        assert self._process is not None
        end = time.monotonic() + 300
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):  # noqa: S310
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError((self._folder / "server.log").read_text(encoding="utf-8"))

    def kill(self) -> None:
        """Send SIGKILL to the server and all its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
