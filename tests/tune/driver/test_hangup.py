"""A search whose terminal is closed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import warm_start
import yaml
from mlflow import MlflowClient
from tiny import TINY_MINIATURE

from themo.tracking.uri import default_uri


# what mlflow and sqlalchemy do among themselves
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.slow  # a Ray cluster
def test_a_search_ends_with_its_terminal(tmp_path: Path) -> None:
    """The shell sends SIGHUP to its whole job: to Ray's processes too, which must outlive the driver."""
    tree = {
        "preset": "miniature",
        "training": {"epochs": 1000.0, "report_pairs": 300, "device": "cpu"},
        "miniature": TINY_MINIATURE,
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    command = [*warm_start.INTERPRETER, "-m", "themo", "tune", "--config", "own.yaml", "--name", "mine"]
    terminal, own_end = os.openpty()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # where these tests run under nohup
    process = subprocess.Popen(
        [*command, "--num-samples", "2", "--max-concurrent", "1"],
        cwd=tmp_path,
        stdin=own_end,
        stdout=own_end,
        stderr=(tmp_path / "said").open("w"),
        start_new_session=True,
    )
    signal.signal(signal.SIGHUP, before)
    os.close(own_end)
    study = tmp_path / "logs" / "tune" / "mine" / "study.json"
    while not (study.exists() and "pairs_seen" in study.read_text(encoding="utf-8")):
        assert process.poll() is None, (tmp_path / "said").read_text(encoding="utf-8")
        time.sleep(0.2)
    children = psutil.Process(process.pid).children(recursive=True)
    os.close(terminal)
    for _ in range(2):  # the kernel's, and the shell's
        os.killpg(process.pid, signal.SIGHUP)
        time.sleep(0.1)
    assert process.wait(300) == 129
    *_, last = (tmp_path / "said").read_text(encoding="utf-8").splitlines()
    assert last == "The terminal was closed. To resume: python -m themo tune --resume mine"
    assert psutil.wait_procs(children, timeout=30)[1] == []
    client = MlflowClient(default_uri(tmp_path / "logs"))
    (experiment,) = [e for e in client.search_experiments() if e.name == "miniature"]
    states = {run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert states == {"KILLED"}
