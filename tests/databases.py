"""A PostgreSQL server of one test, on 127.0.0.1; skipped where PostgreSQL is not installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.chaos.server import free_port

PASSWORD = "not-in-any-file"  # noqa: S105 -- of a database that lives for seconds


@contextmanager
def postgresql() -> Iterator[str]:
    """Run an empty database; its address, with a password."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    pytest.importorskip("psycopg2", reason="needs psycopg2: pip install psycopg2-binary")
    folder, port = Path(tempfile.mkdtemp(prefix="themo-postgresql-")), free_port()
    user = pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None  # it does not run as root

    def run(program: str, *arguments: str | Path) -> None:
        command = [programs[-1] / program, "--pgdata", folder / "data", *arguments]
        subprocess.run(command, cwd=folder, user=user, check=True, stdout=subprocess.DEVNULL)

    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    if user is not None:
        for path in (folder, folder / "password"):
            os.chown(path, user, -1)
    try:
        run(
            "initdb",
            "--username=themo",
            "--auth=scram-sha-256",
            f"--pwfile={folder / 'password'}",
            "--no-sync",
        )
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
        run("pg_ctl", "start", "--wait", f"--options={options}", f"--log={folder / 'log'}")
        try:
            yield f"postgresql+psycopg2://themo:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "stop", "--wait", "--mode=immediate")
    finally:
        shutil.rmtree(folder)
