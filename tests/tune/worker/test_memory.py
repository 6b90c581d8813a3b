from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import formula_memory
import pytest
import torch
from clusters import one_machine
from formula_search import no_data, settings_in

from themo.config.settings import Settings
from tune.cluster.resources import Resources
from tune.driver.scheduler import StudyScheduler
from tune.driver.searcher import StudySearcher
from tune.driver.session import run_search
from tune.driver.stoppers import Breakdown
from tune.space.search_space import Space, from_tree
from tune.study.search import new_search
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.worker.memory import (
    keep_to_share,
    larger_share,
    peak_memory,
    share_by_memory,
)
from tune.worker.trial_report import TrialReport


@pytest.mark.parametrize(
    ("gpus", "larger"),
    [(0.1, 0.2), (0.25, 0.5), (0.5, 1.0), (0.7, 1.0), (1.0, None), (2.0, None), (0.0, None)],
)
def test_a_larger_share_is_twice_as_much_up_to_a_gpu(gpus: float, larger: float | None) -> None:
    assert larger_share(gpus) == larger


@pytest.mark.gpu
def test_a_share_is_kept_to() -> None:
    total = torch.cuda.mem_get_info()[1]
    try:
        keep_to_share(0.1)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(total // 5, dtype=torch.uint8, device="cuda")
        keep_to_share(1.0)
        torch.empty(total // 5, dtype=torch.uint8, device="cuda")
    finally:
        keep_to_share(1.0)
        torch.cuda.empty_cache()


@pytest.mark.gpu
def test_the_peak_is_the_largest_allocation() -> None:
    total = torch.cuda.mem_get_info()[1]
    keep_to_share(1.0)
    torch.empty(total // 5, dtype=torch.uint8, device="cuda")  # and gone
    torch.empty(8, device="cuda")
    peak = peak_memory()
    assert peak is not None
    assert 0.2 <= peak < 0.3
    torch.cuda.empty_cache()
    keep_to_share(1.0)
    again = peak_memory()
    assert again is not None
    assert again < 0.2


@pytest.mark.parametrize(
    ("peaks", "share"),
    [
        ([], 1.0),
        ([0.1, 0.1], 1.0),  # too few to tell
        ([0.1, 0.1, 0.1], 1 / 8),
        ([0.1, 0.2, 0.1], 1 / 4),
        ([0.1, 0.1, 0.1, 0.3], 1 / 2),
        ([0.1, 0.1, 0.1, 0.5], 1.0),  # two of them would not fit
        ([0.0, 0.0, 0.0], 1 / 8),
    ],
)
def test_the_largest_peak_with_headroom_sets_trials_a_gpu(peaks: list[float], share: float) -> None:
    study = Study(None, "max")
    for peak in peaks:
        trial = study.add({})
        trial.state, trial.gpus, trial.gpu_memory = "PRUNED", 1.0, peak
    just_begun, among_others, unknown = study.add({}), study.add({}), study.add({})
    just_begun.gpus, just_begun.gpu_memory = 1.0, 0.9
    among_others.state, among_others.gpus = "COMPLETE", 0.25
    unknown.state, unknown.gpus = "COMPLETE", 1.0
    assert share_by_memory(study) == share
    for trial in study.trials[:-3]:  # their peaks remain known while they are paused and after they resume
        trial.state, trial.checkpoint = "PAUSED", "somewhere"
    assert share_by_memory(study) == share
    for trial in study.trials[:-3]:
        trial.state, trial.gpus = "RUNNING", share
    assert share_by_memory(study) == share


def a_space(settings: Settings, *shares: float, scheduler: str = "none") -> Space:
    tree: dict[str, Any] = {
        "space": {"weight_decay": {"uniform": [0.0, 3.0]}},
        "first": [{"weight_decay": share} for share in shares],
        "search": {"num_samples": len(shares), "scheduler": scheduler, "grace_pairs": 100},
    }
    return from_tree(tree, settings, source="search.yaml")


def a_report(
    number: int, pairs: int, *, is_memory_fault: bool = False, gpu_memory: float | None = None
) -> dict[str, object]:
    metrics = {} if is_memory_fault else {"pairs_seen": float(pairs), "o": 0.5}
    told = {"seconds": 1.0, "started": 0.0, "ended": 1.0, "machine": "here", "gpu_memory": gpu_memory}
    if is_memory_fault:
        told |= {"failure": "out of device memory", "is_memory_fault": True}
    return TrialReport(number=number, metrics=metrics, **told).to_result()


def test_an_out_of_memory_trial_retries_with_a_larger_share(settings: Settings, tmp_path: Path) -> None:
    space = a_space(settings, 0.1, 0.1)
    study = Study(tmp_path / "study.json", "max")
    searcher, scheduler = (
        StudySearcher(space, study, lambda: 1, lambda: 0.25),
        StudyScheduler(space, study, "o", Breakdown(lambda: 1)),
    )
    ray_trial: Any = SimpleNamespace(config={})
    config = searcher.suggest("a")
    assert isinstance(config, dict)
    assert (config["number"], config["gpus"], config["checkpoint_pairs"]) == (0, 0.25, 0)
    assert scheduler.on_trial_result(None, ray_trial, a_report(0, 100)) == "CONTINUE"
    study[0].checkpoint, study[0].checkpoint_pairs = "x", 100
    assert scheduler.on_trial_result(None, ray_trial, a_report(0, 200)) == "CONTINUE"
    assert scheduler.on_trial_result(None, ray_trial, a_report(0, 0, is_memory_fault=True)) == "STOP"
    study.save()
    killed_here = Study.reopen(tmp_path / "study.json")
    assert (killed_here[0].state, killed_here[0].gpus, killed_here[0].pairs_seen) == ("RUNNING", 0.5, 100)

    searcher.on_trial_complete("a")
    assert study[0].state == "RUNNING"
    assert list(study[0].values) == [100]
    for again in (
        StudySearcher(space, Study.reopen(tmp_path / "study.json"), lambda: 1, lambda: 0.25),
        searcher,
    ):
        config = again.suggest("b")
        assert isinstance(config, dict)
        assert (config["number"], config["gpus"], config["checkpoint"]) == (0, 0.5, "x")

    for name in ("b", "c"):  # on half of one and on a whole one
        scheduler.on_trial_result(None, ray_trial, a_report(0, 0, is_memory_fault=True))
        searcher.on_trial_complete(name)
        config = searcher.suggest("c")
        assert isinstance(config, dict)
    assert (study[0].state, study[0].gpus) == ("FAIL", 1.0)
    assert study[0].reason == "out of device memory on a whole GPU, even with the smallest microbatches"
    assert (config["number"], config["gpus"]) == (1, 0.25)  # others are not concerned


def test_paused_trials_share_gpus_when_resumed(settings: Settings, tmp_path: Path) -> None:
    space = a_space(settings, *[0.1] * 4, scheduler="pbt")
    study = Study(None, "max")
    searcher = StudySearcher(space, study, lambda: 9, lambda: share_by_memory(study))
    scheduler = StudyScheduler(space, study, "o", Breakdown(lambda: 9))
    ray_trial: Any = SimpleNamespace(config={})

    def taken_up(name: str) -> tuple[int, float]:
        config = searcher.suggest(name)
        assert isinstance(config, dict)
        return config["number"], config["gpus"]

    def to_the_end_of_a_round(number: int, pairs: int, gpu_memory: float) -> None:
        told = scheduler.on_trial_result(None, ray_trial, a_report(number, pairs, gpu_memory=gpu_memory))
        assert told == "STOP"
        study[number].checkpoint, study[number].checkpoint_pairs = f"{number}/{pairs}", pairs
        searcher.on_trial_complete(next(i for i, n in searcher.numbers.items() if n == number))

    for number in range(3):
        assert taken_up(str(number)) == (number, 1.0)
        to_the_end_of_a_round(number, 100, 0.2)
    assert taken_up("3") == (3, 0.25)
    scheduler.on_trial_result(None, ray_trial, a_report(3, 0, is_memory_fault=True))
    searcher.on_trial_complete("3")
    assert taken_up("3") == (3, 0.5)
    to_the_end_of_a_round(3, 100, 0.9)  # of itself and of others
    assert [taken_up(str(number)) for number in range(4)] == [(3, 0.5), (0, 0.25), (1, 0.25), (2, 0.25)]
    to_the_end_of_a_round(0, 200, 0.9)
    assert [trial.gpu_memory for trial in study] == [0.2, 0.2, 0.2, None]


def test_an_open_share_is_current_for_resumed_trials_too(settings: Settings, tmp_path: Path) -> None:
    space = a_space(settings, *[0.1] * 4)
    study = Study(tmp_path / "study.json", "max")
    gpus = [1.0]

    def resumed() -> StudySearcher:
        return StudySearcher(space, study, lambda: 2, lambda: gpus[0], is_share_open=True)

    def handed_out(searcher: StudySearcher, name: str) -> tuple[int, float] | None:
        config = searcher.suggest(name)
        return (config["number"], config["gpus"]) if isinstance(config, dict) else None

    assert handed_out(resumed(), "a") == (0, 1.0)
    gpus[0] = 0.0  # it is interrupted there, and taken up where there are none
    searcher = resumed()
    assert [handed_out(searcher, name) for name in "abc"] == [(0, 0.0), (1, 0.0), None]
    gpus[0] = 1.0  # GPUs join; the two running trials have none
    assert [handed_out(searcher, name) for name in "cde"] == [(2, 1.0), (3, 1.0), None]


@pytest.fixture(scope="module")
def one_gpu() -> Iterator[None]:
    with one_machine(num_cpus=4, num_gpus=1):
        yield


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_out_of_memory_costs_the_trial_its_slot_only(one_gpu: None, tmp_path: Path) -> None:
    settings = settings_in(tmp_path).override({"device": "cpu"})
    space = a_space(settings, 0.2, 0.4, 2.0, 0.9, 0.1)
    search = new_search("mine", space, settings, Resources(cpus_per_trial=0.5, gpus_per_trial=0.25))
    result = run_search(search, no_data, formula_memory.train)
    study = Study.reopen(result.folder / "study.json")
    assert [trial.state for trial in study] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert [trial.gpus for trial in study] == [0.25, 0.5, 1.0, 1.0, 0.25]
    assert study[2].reason == "out of device memory on a whole GPU, even with the smallest microbatches"
    for trial in study:
        if trial.state == "COMPLETE":
            assert trial.metrics["share"] == trial.gpus  # what Ray set aside
            assert trial.metrics["begun"] == (4 if trial.number in (1, 3) else 1)
            assert trial.values == {100 * step: step / 10 for step in range(1, 10)}
    assert _statuses(tmp_path) == {"FINISHED": 5, "FAILED": 1}  # the search's own run among them


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_trials_share_a_gpu_by_the_memory_of_the_first(one_gpu: None, tmp_path: Path) -> None:
    settings = settings_in(tmp_path).override({"device": "cpu"})
    space = a_space(settings, 0.1, 0.11, 0.12, 0.13, 0.4, 0.14, 0.15, 0.16)
    search = new_search("mine", space, settings, Resources(0.5, gpus_per_trial=1.0, by_memory=True))
    result = run_search(
        search, no_data, formula_memory.train_beside_another, measure=formula_memory.take_a_fifth
    )
    study = Study.reopen(result.folder / "study.json")
    assert [trial.gpus for trial in study] == [1.0, 1.0, 1.0, 0.25, 0.5, 0.25, 0.25, 0.25]
    assert [trial.gpu_memory for trial in study] == [0.2] * 3 + [None] * 5
    assert {trial.state for trial in study} == {"COMPLETE"}
    assert all(trial.metrics["share"] == trial.gpus for trial in study)
    assert result.slots == 4
    assert max(_at_once(study.trials[:3])) == 1
    assert max(_at_once(study.trials[3:])) > 1


def _at_once(trials: list[Trial]) -> list[int]:
    """Number of running trials at the start of each trial."""
    return [sum(other.started <= t.started < other.ended for other in trials) for t in trials]  # type: ignore[operator]


def _statuses(logs_dir: Path) -> dict[str, int]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{logs_dir / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("default")
    statuses = [run.info.status for run in client.search_runs([experiment.experiment_id])]
    return {status: statuses.count(status) for status in set(statuses)}
