"""A trial on a worker: its files, its device, and the blame for its end."""

from __future__ import annotations

import gc
import platform
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from away_storage import AWAY, fail_from_uri
from disks import FULL, WAITS_FOR_ROOM, a_full_disk_then
from formula_search import TREE, no_data, settings_in
from formula_training import REPORTS, train
from pyarrow import fs
from ray.tune import Checkpoint

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.files import disk_space
from themo.training.loop import train as train_student
from tune.cluster import shipping
from tune.cluster.sharing import sign
from tune.cluster.shipping import File, Item, Shipment
from tune.cluster.storage import Storage
from tune.schedulers.rungs import Rungs
from tune.space.search_settings import SearchSettings
from tune.space.search_space import from_tree
from tune.study.trial_record import Trial
from tune.worker import trial
from tune.worker.reporter import StorageError
from tune.worker.trial import DeviceError, newest_checkpoint, run_trial
from tune.worker.trial_report import TrialReport
from tune.worker.work import Work, configuration

# a trial collects garbage first, and with it files that earlier tests left open
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_space, "SECONDS_BETWEEN_TRIES", 0.01)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    settings = settings_in(tmp_path)
    space = from_tree(TREE, settings, source="search.yaml")
    data = {(): no_data(settings)}
    return Work(settings, space.search, data, (), str(tmp_path), train, measure=lambda: None)


def a_trial() -> dict[str, Any]:
    return configuration(Trial(0, {"learn_rate": 1e-3}, gpus=0.0))


def test_an_unfetchable_checkpoint_is_not_the_trials_failure(work: Work, tmp_path: Path) -> None:
    remote = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())  # Ray fetches what is not local
    sent: list[TrialReport] = []
    with pytest.raises(StorageError, match="data or checkpoint cannot be fetched: "):
        run_trial(a_trial(), work, Checkpoint("gone", remote), lambda report, _: sent.append(report))
    assert sent == []


def test_a_trial_in_seconds_saves_at_rungs_and_at_its_end(
    tiny_settings: Settings, tiny_data: TrainingData, tmp_path: Path
) -> None:
    settings = tiny_settings.override({"epochs": 10.0})
    search = SearchSettings(resource="seconds", trial_seconds=0.2, grace_seconds=0.02)
    work = Work(settings, search, {(): tiny_data}, (), str(tmp_path), train_student, measure=lambda: None)
    sent: list[tuple[float, bool, bool]] = []

    def send(report: TrialReport, version: Path | None) -> None:
        sent.append((report.metrics["training_seconds"], version is not None, report.is_last))

    run_trial(configuration(Trial(0, {}, gpus=0.0)), work, None, send)
    rungs, before = Rungs(0.02, 3.0, "seconds"), 0.0
    for seconds, is_saved, is_last in sent:
        is_judged = rungs.between(before, seconds) is not None
        assert is_saved == (is_judged or is_last or seconds >= 0.2)
        before = seconds
    assert [is_last for *_, is_last in sent] == [False] * (len(sent) - 1) + [True]


def test_a_broken_gpu_is_no_fault_of_the_trials(work: Work) -> None:
    def fails(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: uncorrectable ECC error\nmore")

    sent: list[TrialReport] = []
    with pytest.raises(DeviceError, match=r"^CUDA error: uncorrectable ECC error$"):
        run_trial(a_trial(), replace(work, train=fails), None, lambda report, _: sent.append(report))
    assert sent == []


def test_a_trials_memory_is_freed_before_the_next(work: Work) -> None:
    class Model:
        def __init__(self) -> None:
            self.itself = self  # as models and optimizers are: no count of references ends it

    left: list[weakref.ref[Model]] = []
    alive: list[bool] = []

    def train_one(*_: object, **__: object) -> None:
        alive.extend(ref() is not None for ref in left)
        left.append(weakref.ref(Model()))

    gc.disable()
    try:
        for _ in range(3):
            run_trial(a_trial(), replace(work, train=train_one), None, lambda *_: None)
    finally:
        gc.enable()
    assert alive == [False] * 3
    assert gc.get_freeze_count() > 100_000


def test_a_gpu_broken_before_is_not_the_next_trials_failure(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", fails)
    with pytest.raises(DeviceError, match=r"^CUDA error: an illegal memory access was encountered$"):
        run_trial(a_trial(), work, None, lambda *_: None)


@pytest.mark.parametrize(
    ("device", "gpus", "there_are", "trained_on"),
    [
        ("auto", 0.0, True, "cpu"),  # Ray hides none
        ("auto", 1.0, True, "auto"),
        ("auto", 0.0, False, "auto"),
        ("cpu", 1.0, False, "cpu"),
    ],
)
def test_a_trial_trains_on_its_device(
    work: Work, monkeypatch: pytest.MonkeyPatch, device: str, gpus: float, there_are: bool, trained_on: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there_are)
    monkeypatch.setattr(trial, "_clear_device", lambda _: None)
    devices: list[str] = []

    def note(settings: Settings, *_: object, **__: object) -> None:
        devices.append(settings.training.device)

    work = replace(work, settings=work.settings.override({"device": device}), train=note)
    run_trial(configuration(Trial(0, {"learn_rate": 1e-3}, gpus=gpus)), work, None, lambda *_: None)
    assert devices == [trained_on]


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_trial_whose_gpu_is_not_there_does_not_train_without(
    work: Work, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    work = replace(work, settings=work.settings.override({"device": device}))
    with pytest.raises(DeviceError, match=f"torch sees no GPU on {platform.node()}, where the trial was"):
        run_trial(configuration(Trial(0, {"learn_rate": 1e-3}, gpus=0.5)), work, None, lambda *_: None)


def test_fetching_waits_for_disk_space(work: Work, tmp_path: Path) -> None:
    version = tmp_path / "version"
    version.mkdir()
    (version / "progress.json").write_text('{"step": 7}')
    enter = a_full_disk_then(lambda: str(version))

    @contextmanager
    def as_directory() -> Iterator[str]:
        yield enter()

    sign(Storage(work.storage))
    unpack = a_full_disk_then(lambda: work.data[()])
    shipped: Any = SimpleNamespace(unpack=lambda _: unpack())
    newest: Any = SimpleNamespace(as_directory=as_directory)
    work = Work(work.settings, work.search, work.data, (), work.storage, train, shipped, lambda: None)
    sent: list[TrialReport] = []
    run_trial(a_trial(), work, newest, lambda report, _: sent.append(report))
    of_data, of_checkpoint, *reports = sent
    assert of_data.waits == of_checkpoint.waits == WAITS_FOR_ROOM
    assert [report.metrics["step"] for report in reports] == [*range(8, REPORTS + 1)]
    assert sent[-1].failure == ""


def test_a_resumed_trial_waits_for_the_network(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trial-0000").mkdir()
    (tmp_path / "trial-0000" / "progress.json").write_text('{"step": 7}')
    config = a_trial() | {"checkpoint": "trial-0000"}
    sent: list[TrialReport] = []

    def send(report: TrialReport, _: Path | None) -> None:
        sent.append(report)

    fail_from_uri(monkeypatch, [OSError(AWAY)] * 2)
    newest = newest_checkpoint(config, work, send)
    (notice,) = sent
    assert (notice.number, notice.waits) == (0, f"the storage: {AWAY}")
    run_trial(config, work, newest, send)
    assert [report.metrics["step"] for report in sent[1:]] == [*range(8, REPORTS + 1)]


def test_a_new_trial_has_no_checkpoint(work: Work) -> None:
    assert newest_checkpoint(a_trial(), replace(work, storage="what://x"), lambda *_: None) is None


def test_a_machine_without_the_shared_storage_waits_for_it(work: Work) -> None:
    shipped: Any = SimpleNamespace(unpack=lambda data: data)
    work = Work(work.settings, work.search, work.data, (), work.storage, train, shipped, lambda: None)
    sent: list[TrialReport] = []

    def send(report: TrialReport, _: Path | None) -> None:
        sent.append(report)
        if report.waits:
            sign(Storage(work.storage))

    run_trial(a_trial(), work, None, send)
    first, *reports = sent
    assert "cannot see the files of other machines in" in first.waits
    assert [report.metrics["step"] for report in reports] == [*range(1, REPORTS + 1)]


def test_data_without_room_says_so_as_a_disk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Work
) -> None:
    monkeypatch.setenv(shipping.FOLDER_VARIABLE, str(tmp_path / "shipped"))
    there = Path("/nowhere/ids.npy")
    items = {str(path): Item(path, (File(there, 3, 1),)) for path in (there.parent, there)}
    source = SimpleNamespace(read=SimpleNamespace(remote=lambda *_: None))

    def no_room(_: object) -> bytes:
        raise FULL

    monkeypatch.setattr(shipping.ray, "get", no_room)
    pairs = type(work.data[()].train)(there.parent, there)
    with pytest.raises(OSError, match="No space left") as caught:
        Shipment(items, source).unpack(TrainingData(pairs, pairs, backbone="any"))
    assert disk_space.is_full(caught.value)
    assert Storage(str(tmp_path / "shipped")).folders() == []
