"""Trials on several of Ray's GPUs, which are names for CPU processes here, by Ray Train and gloo."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import several_machines
from patient_training import TRAINERS, train_patiently

from themo.checkpoints.versions import read_summary
from themo.config.settings import Settings
from themo.data.preparation import prepare_data
from themo.training.loop import Report, train
from tune.cluster.resources import Resources
from tune.driver.session import run_search
from tune.results.best_trials import SearchResult
from tune.space.search_space import from_tree
from tune.study.search import new_search
from tune.study.study import Study

# what mlflow, sqlalchemy and ray do among themselves
pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

TREE: dict[str, Any] = {
    "space": {"loss": {"choice": ["mse", "infonce"]}, "learn_rate": {"log_uniform": [1e-4, 1e-1]}},
    "first": [
        {"loss": "mse", "learn_rate": 3e-3},
        {"loss": "infonce", "learn_rate": 3e-3},
    ],
    "search": {"num_samples": 2, "scheduler": "none"},
}
TIMES = ("seconds", "training_seconds", "pairs_per_second")


@pytest.fixture(scope="module")
def gpus() -> Iterator[None]:
    """Two machines with a GPU each: a trial on two spans both."""
    machine = {"num_cpus": 1, "num_gpus": 1}
    with several_machines(machine, machine):
        yield


def searched(settings: Settings, name: str, **changes: Any) -> tuple[SearchResult, Study]:
    space = from_tree(TREE | changes, settings, source="search.yaml")
    resources = Resources(gpus_per_trial=2, max_concurrent=1)
    result = run_search(new_search(name, space, settings, resources), prepare_data, train_patiently)
    return result, Study.reopen(result.folder / "study.json")


def test_a_trial_on_two_gpus_is_that_of_one_process(gpus: None, tiny_settings: Settings) -> None:
    result, study = searched(tiny_settings, "mine")
    assert [trial.state for trial in study] == ["COMPLETE", "COMPLETE"], [trial.reason for trial in study]
    for trial in study:
        reports: list[Report] = []
        settings = tiny_settings.override(trial.params)
        train(settings, prepare_data(settings), report=reports.append)
        alone = {name: value for name, value in reports[-1].metrics.items() if name not in TIMES}
        together = {name: value for name, value in trial.metrics.items() if name not in TIMES}
        assert together == pytest.approx(alone, abs=1e-5, rel=1e-5)
        assert list(trial.values) == [report.metrics["pairs_seen"] for report in reports]
    assert (result.folder / "best" / "student" / "model.safetensors").is_file()
    assert read_summary(result.folder / "best")["environment"]["processes"] == 2


def test_a_trial_with_a_killed_process_resumes(gpus: None, tiny_settings: Settings) -> None:
    settings = tiny_settings.override({"epochs": 12.0})
    folder = Path(settings.paths.logs_dir) / "tune" / "mine"
    killed: list[int] = []
    killing = threading.Thread(target=_kill_a_trainer, args=(folder, killed))
    killing.start()
    search = {"num_samples": 1, "scheduler": "none", "grace_pairs": 400}
    _, study = searched(settings, "mine", first=TREE["first"][1:], search=search)
    killing.join(timeout=1)
    assert len(killed) == 1
    assert study[0].state == "COMPLETE", study[0].reason
    assert "died" in (folder / "failures" / "trial-0000.txt").read_text()
    assert study[0].pairs_seen == 12 * 340
    # each report once, whichever process it is of; the one at 4,000 pairs is left out, just before the end
    assert len(study[0].values) == 12 * 340 // 200
    assert [pairs for pairs in study[0].values if pairs > 3_900] == [4_080]


def _kill_a_trainer(folder: Path, killed: list[int]) -> None:
    """Kill one of two training processes after the first checkpoint."""
    end = time.monotonic() + 1200
    while time.monotonic() < end:
        time.sleep(0.05)
        path = folder / "study.json"
        if not path.exists() or not any(trial.checkpoint for trial in Study.read(path)):
            continue
        # not by the family of this process: workers are forked from a server of loaded libraries
        killed.append(max(int(path.name) for path in (folder.parents[1] / TRAINERS).iterdir()))
        os.kill(killed[0], signal.SIGKILL)
        return
