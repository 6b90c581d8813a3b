"""A search on a machine that sees neither the driver's data nor its search directory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import warm_start
from machines import two_machines, why_not

from tune.study.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@dataclass(frozen=True)
class TwoMachines:
    joining: dict[str, str]
    """Variables of those who join the cluster."""
    own: Path
    """The driver's folder, which the worker does not see."""
    share: Path
    fetched: Path
    """Folder of the worker's fetched files."""

    def search(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        here = Path(__file__).parents[1]
        command = [*warm_start.PYTHON, str(here / "formula_search.py"), str(self.own), name]
        return subprocess.run(
            [*command, f"address='{self.joining['RAY_ADDRESS']}'", *options],
            env=os.environ | self.joining | {"PYTHONPATH": str(here)},
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoMachines]:
    root = tmp_path_factory.mktemp("machines")
    own, share, fetched = root / "own", root / "share", root / "fetched"
    own.mkdir()
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    with two_machines([own], PYTHONPATH=path, THEMO_SHIPPED_DIR=str(fetched)) as joining:
        yield TwoMachines(joining, own, share, fetched)


def test_a_storage_not_shared_is_refused_before_any_trial(machines):
    done = machines.search("unshared")
    assert done.returncode == 2
    place = machines.own / "tune" / "unshared" / "trials"
    rule = "must be shared by all machines of the cluster, but "
    assert done.stderr.startswith(f"--storage-path {place}: {rule}")
    assert "cannot see files that this machine has written" in done.stderr
    assert not (machines.own / "data").exists(), "data was prepared before"
    assert not machines.fetched.exists()
    assert len(Study.reopen(machines.own / "tune" / "unshared" / "study.json")) == 0


def test_data_reaches_machines_once_and_checkpoints_return(machines):
    done = machines.search("shared", f"storage_path='{machines.share}'")
    assert done.returncode == 0, done.stderr
    assert f"Runs in MLflow: mlflow ui --backend-store-uri sqlite:///{machines.own}/mlflow.db" in done.stderr
    study = Study.reopen(machines.own / "tune" / "shared" / "study.json")
    assert len(study) == 8
    assert study.counts()["COMPLETE"] > 0
    assert (machines.own / "tune" / "shared" / "best" / "config.yaml").exists()
    (entry,) = machines.fetched.glob("data-*")  # the vectors lie in the folder of the tokens
    assert {path.name for path in entry.iterdir()} == {"ids.npy", "manifest.json"}
    (place,) = machines.share.glob("shared-*")
    assert all((place / trial.checkpoint).is_dir() for trial in study if trial.checkpoint)
