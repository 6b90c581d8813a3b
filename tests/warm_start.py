"""Start programs from a process that has PyTorch, MLflow and the like already: their imports take seconds.

`warm/server.py` has imported them; a program of `PYTHON` is forked from it: a process of its own, which
imports Themo and Ray itself, can be killed, and ends as any. A test that looks at process groups, at memory
or at what is imported starts `sys.executable` instead, or `INTERPRETER` where it has a cluster: importing the
libraries in all its processes takes most of such a test's time.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from warm import changes

_FOLDER = Path(__file__).parent / "warm"
PYTHON = (sys.executable, "-IS", str(_FOLDER / "python.py"))
"""In place of `sys.executable` in a command."""
TO_ITS_GROUP = {"THEMO_TESTS_TO_GROUP": "1"}
"""Variables with which signals reach the whole process group of a program of `PYTHON`, as a terminal's do."""
INTERPRETER = (sys.executable, str(_FOLDER / "interpreter.py"))
"""An interpreter for a test that looks at the program's children; its Ray clusters take forks."""

_SOCKET, _OWNER = "THEMO_TESTS_WARM", "THEMO_TESTS_OWNER"


def allow() -> None:
    """Let this process, and all that it starts, share one server, which ends soon after this process."""
    os.environ[_SOCKET] = f"{tempfile.mkdtemp(prefix='warm-')}/socket"
    os.environ[_OWNER] = str(os.getpid())


def ease_databases() -> None:
    """Have MLflow make its tables once for all processes of the tests, and not wait for the disk."""
    changes.ease_databases(Path(os.environ[_SOCKET]).with_name("tables.db"))


def begin() -> None:
    """Start the server, unless it has been: its imports take a while, meanwhile others can work."""
    changes.begin_by_python()  # a worker of Ray too
    path = Path(os.environ[_SOCKET])
    with path.with_name("lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        with path.with_name("log").open("wb") as log:
            subprocess.run(
                [sys.executable, str(_FOLDER / "server.py"), str(path), os.environ[_OWNER]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
            )


def on_path(folder: Path) -> Path:
    """A folder for the front of PATH whose `python` begins so."""
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(PYTHON)} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return folder


def variables() -> dict[str, str]:
    """Variables that a program with its own environment needs."""
    return {name: os.environ[name] for name in (_SOCKET, _OWNER)}


def end() -> None:
    """Remove what `allow` has made."""
    if os.environ.get(_OWNER) == str(os.getpid()):
        shutil.rmtree(Path(os.environ[_SOCKET]).parent)
