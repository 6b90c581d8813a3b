"""What `warm/changes.py` changes in libraries leaves what they do as it is."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import warm_start

pytestmark = pytest.mark.slow

CLUSTER = """
import json, os, sys
sys.path[:0] = {paths}
from clusters import one_machine
import psutil, ray

class Looking:
    def look(self):
        return os.getpid(), os.getppid()

with one_machine(num_cpus=1):
    (raylet,) = [child for child in psutil.Process().children() if child.name() == "raylet"]
    own = {{"env_vars": {{"OWN": "1"}}}}  # not those workers that the raylet has started ahead
    workers = [ray.remote(num_cpus=0, runtime_env=own)(Looking).remote() for _ in range(2)]
    print(json.dumps([raylet.pid, *ray.get([worker.look.remote() for worker in workers])]), flush=True)
    sys.stdin.read()
"""


def test_forked_agents_and_workers_end_with_their_raylet() -> None:
    paths = [str(Path(__file__).parent / "tune"), str(Path(__file__).parents[1])]
    command = [*warm_start.PYTHON, "-c", CLUSTER.format(paths=paths)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        raylet_pid, *workers = json.loads(driver.stdout.readline())
        raylet = psutil.Process(raylet_pid)
        agents = [child for child in raylet.children() if _is_agent(child.cmdline())]
        assert len(agents) == 2
        pids, (server,) = [pid for pid, _ in workers], {parent for _, parent in workers}
        forked = [psutil.Process(pid) for pid in (server, *pids)]
        assert len({process.pid for process in forked}) == 3
        raylet.kill()
        _, left = psutil.wait_procs(agents, timeout=60)
        driver.kill()  # until then its raylet is a zombie, alive to Ray's workers
        left += psutil.wait_procs(forked, timeout=60)[1]
    assert not left


def _is_agent(command: list[str]) -> bool:
    """Whether a process is the placeholder of a forked agent of Ray; it ends as the agent does."""
    agents = ("dashboard/agent.py", "runtime_env/agent/main.py")
    return warm_start.PYTHON[-1] in command and any(word.endswith(agents) for word in command)


def _made_by(python: list[str], database: Path) -> list[list[str]]:
    """The statements that make the database again which a program has MLflow make.

    Without times, and sorted as well as their lines: the order of indexes and constraints is chance.
    """
    program = f"from mlflow import MlflowClient; MlflowClient('sqlite:///{database}').get_experiment('0')"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    subprocess.run([*python, "-c", program], check=True, capture_output=True, env=environment)
    with closing(sqlite3.connect(database)) as made:
        statements = [re.sub(r"\b\d{13}\b", "MILLISECONDS", statement) for statement in made.iterdump()]
    return sorted(sorted(line.strip(" ,\t") for line in statement.splitlines()) for statement in statements)


def test_copied_tables_are_those_of_the_migrations(tmp_path: Path) -> None:
    migrated = _made_by([sys.executable], tmp_path / "migrated.db")
    for name in ("first.db", "second.db"):  # one of them may be the first of all, whose tables are made
        copied = _made_by(list(warm_start.PYTHON), tmp_path / name)
        assert len(copied) == len(migrated) > 100
        assert copied == migrated
