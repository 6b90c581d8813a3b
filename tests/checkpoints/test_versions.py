import csv
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from tiny import SettingsFactory
from torch import Tensor

from themo.checkpoints.versions import (
    Checkpoint,
    find_part,
    identity_of,
    load_part,
    new_version,
    read_settings,
    read_summary,
    training_lock,
)
from themo.config.settings import Settings, load
from themo.data.dataset import TrainingData
from themo.errors import InputError
from themo.files.atomic import replace_folder
from themo.models.backbones import load_config
from themo.models.student import load_head, load_student, read_weights, save_student
from themo.training.loop import Report, train


def save_reports(settings: Settings, data: TrainingData, folder: Path, resume: Path | None = None) -> Report:
    return train(settings, data, report=lambda last: last.save(folder), resume=resume)


@pytest.fixture
def version(settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path) -> Path:
    save_reports(settings(), tiny_data, tmp_path / "version_0")
    return tmp_path / "version_0"


def test_layout(version: Path, settings: SettingsFactory) -> None:
    """The contract that scripts rely on: these names, no pickles, nothing hidden left behind."""
    assert sorted(p.name for p in version.iterdir()) == [
        "checkpoint",
        "config.yaml",
        "metrics.csv",
        "student",
        "summary.json",
    ]
    suffixes = {p.suffix for p in version.rglob("*") if p.is_file()}
    assert suffixes <= {".yaml", ".csv", ".json", ".safetensors", ".txt"}
    assert load(config=version / "config.yaml") == read_settings(version) == settings()


def test_scores_go_with_the_student_that_they_are_of(
    version: Path, settings: SettingsFactory, tiny_data: TrainingData
) -> None:
    (version / "test.json").write_text("{}")
    (version / "report.html").write_text("")
    save_reports(settings(epochs=4.0), tiny_data, version)
    assert not (version / "test.json").exists()
    assert not (version / "report.html").exists()


def test_metrics_and_summary(version: Path, tiny_data: TrainingData) -> None:
    with (version / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name: float(v) for name, v in row.items()} for row in csv.DictReader(file)]
    summary = read_summary(version)
    assert summary["last"] == rows[-1]  # to the last digit
    assert summary["best"] == {k.removeprefix("best/"): v for k, v in rows[-1].items() if k[:5] == "best/"}
    assert summary["state"] == "finished"
    assert summary["total_steps"] == rows[-1]["step"]
    assert summary["train_pairs"] == len(tiny_data.train)
    assert summary["validation_pairs"] == len(tiny_data.validation)
    assert summary["objective"] == "val/match@01"
    assert {"torch", "commit", "device"} <= set(summary["environment"])
    student, _ = load_student(version / "student")
    assert summary["parameters"] == sum(p.numel() for p in student.parameters())


def test_new_versions_are_numbered(tmp_path: Path) -> None:
    assert [new_version(tmp_path, "a").name for _ in range(3)] == ["version_0", "version_1", "version_2"]
    (tmp_path / "a" / "version_9").mkdir()
    (tmp_path / "a" / "version_x").mkdir()
    assert new_version(tmp_path, "a") == tmp_path / "a" / "version_10"
    assert new_version(tmp_path, "b").name == "version_0"


def test_versions_made_at_once_are_different(tmp_path: Path) -> None:
    made: list[Path] = []
    threads = [
        threading.Thread(target=lambda: made.extend(new_version(tmp_path, "a") for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 80


def test_the_lock_file_goes_before_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the lock is free, the file may be another process's."""
    lock, release, were_there = tmp_path / ".lock", FileLock.release, []

    def note(held: FileLock, force: bool = False) -> None:
        were_there.append(lock.exists())
        release(held, force)

    monkeypatch.setattr(FileLock, "release", note)
    with training_lock(tmp_path):
        assert lock.exists()
    assert were_there[0] is False


def test_a_changed_folder_is_another(tmp_path: Path) -> None:
    """A file system may give a new folder the number of a removed one."""
    folder = tmp_path / "student"
    assert identity_of(folder) is None
    folder.mkdir()
    before = identity_of(folder)
    assert identity_of(folder) == before
    os.utime(folder, ns=(0, 0))
    assert identity_of(folder) != before


class Killed(BaseException):
    """The process ends here: nothing of ours may catch it."""


class Killer:
    """Ends a run right before the n-th of some acts, each a function or method by owner and name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, n: int, acts: Sequence[tuple[object, str]]) -> None:
        self.n = n
        for owner, name in acts:
            monkeypatch.setattr(owner, name, self._counting(getattr(owner, name)))

    def _counting(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if self.n == 0:
                raise Killed
            self.n -= 1
            return act(*arguments, **options)

        return counted


RENAMES = [(Path, "rename"), (Path, "replace")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "acts", [RENAMES, [*RENAMES, (Path, "mkdir"), (shutil, "rmtree")]], ids=["renames", "all"]
)
def test_killed_at_any_moment_of_saving(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path, acts: Sequence[tuple[object, str]]
) -> None:
    """Whatever the last whole step of a save was, the version can be read, and resumed to the same end.

    The best report is the second of three, so that a student of the wrong report would show.
    """
    n_pairs = len(tiny_data.train)
    config = settings(
        batch_size=n_pairs,
        report_pairs=n_pairs,
        epochs=3.0,
        schedule="constant",
        learn_rate=0.5,
        objective="val/loss",
    )
    whole: list[Report] = []

    def report(last: Report) -> None:
        last.save(tmp_path / "whole")
        whole.append(last)

    train(config, tiny_data, report=report)
    assert [report.is_best for report in whole] == [True, True, False], "choose other settings"
    n, finished = 0, False
    while not finished:
        folder = tmp_path / f"cut_{n}"
        with pytest.MonkeyPatch.context() as monkeypatch:
            Killer(monkeypatch, n, acts)
            try:
                save_reports(config, tiny_data, folder)
                finished = True
            except Killed:
                n += 1
        check_readable(folder)
        if finished:
            break
        try:
            step = Checkpoint.load(folder).progress["step"]
        except InputError:  # killed before the first report was saved: there is nothing to resume
            step = 0
        if step < 3:
            save_reports(config, tiny_data, folder, resume=folder if step else None)
            assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []
        for name in ("student/model.safetensors", "student/head.safetensors", "checkpoint/state.safetensors"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (n, name)
        assert read_summary(folder)["best"] == read_summary(tmp_path / "whole")["best"]
        shutil.rmtree(folder)
    assert n > 15  # so many moments there were


def check_readable(folder: Path) -> None:
    """A student or a checkpoint is whole or not there."""
    if (folder / "student").exists() or (folder / ".student.old").exists():
        load_student(find_part(folder, "student"))
    if (folder / "checkpoint").exists() or (folder / ".checkpoint.old").exists():
        Checkpoint.load(folder)


def test_a_part_between_its_two_renames_is_found(version: Path) -> None:
    (version / "student").rename(version / ".student.old")
    assert find_part(version, "student") == version / ".student.old"
    load_student(find_part(version, "student"))


def test_a_student_replaced_while_it_is_loaded_is_loaded_again(
    version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the backbone is of one student and the head of another."""
    other = {name: tensor + 1 for name, tensor in read_weights(version / "student").items()}
    plain, n_loads = load_file, 0

    def write(folder: Path) -> None:
        shutil.copytree(version / "student", folder, dirs_exist_ok=True)
        _, tokenizer = load_student(version / "student")
        config = load_config(str(version / "student"))
        save_student(folder, other, load_head(version / "student"), config, tokenizer)

    def load(path: Path) -> dict[str, Tensor]:
        nonlocal n_loads
        n_loads += 1
        loaded = plain(path)
        if n_loads == 1:  # between the files of backbone and head
            replace_folder(version / "student", write)
        return loaded

    monkeypatch.setattr("themo.models.student.load_file", load)
    student, _ = load_part(version, "student", load_student)
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, other[name]), name


def test_a_student_removed_while_it_is_loaded_is_found_again(version: Path) -> None:
    n_loads = 0

    def load(folder: Path) -> str:
        nonlocal n_loads
        n_loads += 1
        if n_loads == 1:
            replace_folder(folder, lambda new: shutil.copytree(version / "student", new, dirs_exist_ok=True))
            raise InputError(f"{folder}: is not a complete student")
        return "whole"

    assert load_part(version, "student", load) == "whole"


def test_a_damaged_student_is_loaded_once(version: Path) -> None:
    (version / "student" / "head.json").unlink()
    folders: list[Path] = []

    def load(folder: Path) -> Any:
        folders.append(folder)
        return load_student(folder)

    with pytest.raises(InputError, match="is not a complete student"):
        load_part(version, "student", load)
    assert len(folders) == 1


def test_a_student_replaced_during_every_load_is_refused(version: Path) -> None:
    def load(folder: Path) -> None:
        shutil.copytree(folder, version / "copy")
        replace_folder(folder, lambda new: shutil.copytree(version / "copy", new, dirs_exist_ok=True))
        shutil.rmtree(version / "copy")

    with pytest.raises(InputError, match=r"/version_0: student/ was replaced in each of 10 loads: try again"):
        load_part(version, "student", load)


def test_a_part_renamed_between_two_looks_is_found(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training renames the new folder after the first look, and removes the old one before the second."""
    plain, looked = Path.is_dir, []

    def is_dir(path: Path) -> bool:
        looked.append(path)
        return len(looked) > 1 and plain(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    assert find_part(version, "student") == version / "student"


def test_no_version(tmp_path: Path) -> None:
    message = re.escape(f"{tmp_path}: must be a version directory, but has no ")
    with pytest.raises(InputError, match=message + "config.yaml"):
        read_settings(tmp_path)
    with pytest.raises(InputError, match=message + "student/"):
        find_part(tmp_path, "student")
    with pytest.raises(InputError, match=message + "checkpoint/"):
        Checkpoint.load(tmp_path)
    with pytest.raises(InputError, match=r"has no readable summary\.json"):
        read_summary(tmp_path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no tensors": lambda folder: (folder / "state.safetensors").unlink(),
    "truncated tensors": lambda folder: os.truncate(folder / "state.safetensors", 5000),
    "no progress": lambda folder: (folder / "progress.json").unlink(),
    "truncated progress": lambda folder: os.truncate(folder / "progress.json", 10),
    "progress of another kind": lambda folder: (folder / "progress.json").write_text("[]", encoding="utf-8"),
    "progress with an unknown key": lambda folder: (folder / "progress.json").write_text(
        '{"pairs_seen": 3, "stepz": 1}', encoding="utf-8"
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint(
    version: Path, settings: SettingsFactory, tiny_data: TrainingData, damage: str
) -> None:
    DAMAGES[damage](version / "checkpoint")
    with pytest.raises(InputError) as caught:
        save_reports(settings(epochs=3.0), tiny_data, version, resume=version)
    assert str(version) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{", "\xff"])
def test_a_damaged_summary(version: Path, text: str) -> None:
    (version / "summary.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"has no readable summary\.json"):
        read_summary(version)


def test_a_checkpoint_round_trips(tmp_path: Path) -> None:
    tensors = {"student.a": torch.randn(3, 2), "random": torch.get_rng_state()}
    progress = {"pairs_seen": 3, "reports": [{"val/loss": 0.1 + 0.2}]}
    (tmp_path / "checkpoint").mkdir()
    Checkpoint(tensors, progress).save(tmp_path / "checkpoint")
    read = Checkpoint.load(tmp_path)
    assert read.progress == progress == json.loads(json.dumps(progress))
    assert all(torch.equal(read.tensors[name], value) for name, value in tensors.items())
