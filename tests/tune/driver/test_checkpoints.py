from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyarrow import fs
from ray.tune import Callback

from themo.config.settings import load
from themo.errors import InputError
from themo.files.disk_space import IMPATIENT
from tune.cluster.resources import Resources
from tune.cluster.storage import Storage
from tune.driver.checkpoints import Keeper, match_checkpoints
from tune.driver.session_state import SessionState
from tune.driver.stages import confirmation_of
from tune.space.search_space import from_tree
from tune.study.confirmation import Confirmation
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import Takeover, Trial


def a_checkpoint(root: Path, path: str) -> str:
    (root / path / "student").mkdir(parents=True)
    (root / path / "student" / "weights").touch()
    return path


def remaining(root: Path) -> set[str]:
    return {str(path.parent.parent.relative_to(root)) for path in root.rglob("weights")}


def a_study(root: Path) -> tuple[Study, set[str]]:
    """Trials of every state, and what of theirs is needed."""
    own = [
        a_checkpoint(root, f"session-1/trial-000{number}/checkpoint_000001")
        for number in range(5)  # COMPLETE, PRUNED, PAUSED, RUNNING, FAIL
    ]
    left = a_checkpoint(root, "session-1/trial-0002/checkpoint_000000")
    gone = a_checkpoint(root, "session-1/trial-0000/checkpoint_000000")
    study = Study(None, "max", [Trial(number, {}, checkpoint=path) for number, path in enumerate(own)])
    for trial, state in zip(study, ("COMPLETE", "PRUNED", "PAUSED", "RUNNING", "FAIL"), strict=True):
        trial.state = state  # type: ignore[assignment]
    # the paused trial takes over the running one's checkpoint, as the other checkpoint is gone
    study[2].lineage.append(Takeover(100, 0.5, {}, donor=3, checkpoint=left))
    study[2].checkpoint = own[3]
    study[0].lineage.append(Takeover(100, 0.5, {}, donor=1, checkpoint=gone))
    return study, {own[0], own[1], own[3], left}


def test_only_checkpoints_of_study_and_lineage_are_kept(tmp_path: Path) -> None:
    study, needed = a_study(tmp_path)
    study.carried = (Trial(-1, {}, checkpoint="session-1/trial-0007/checkpoint_000003"),)  # another search's
    for path in (
        "session-1/trial-0007/checkpoint_000003",  # as another search's trial has one
        "session-1/trial-0003/checkpoint_000002",  # not entered when the driver died
        "session-2/trial-0003-from-200/checkpoint_000000",
    ):
        a_checkpoint(tmp_path, path)
    (tmp_path / "session-2" / "trial-0001-from-100" / "checkpoint_000000").mkdir(parents=True)  # not begun
    match_checkpoints(study, Storage(str(tmp_path)))
    assert remaining(tmp_path) == needed
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("checkpoint_*")} == needed
    assert {path.name for path in tmp_path.iterdir()} == {"session-1", "session-2"}


def test_a_missing_checkpoint_is_refused_and_nothing_removed(tmp_path: Path) -> None:
    """The storage may be unmounted: every trial that resumes from a checkpoint would fail."""
    study, needed = a_study(tmp_path)
    shutil.rmtree(tmp_path / str(study[1].checkpoint))
    before = remaining(tmp_path)
    with pytest.raises(
        InputError,
        match=r"^--resume: 1 of 3 checkpoints are not at .*, such as session-1/trial-0001/.*: mount it",
    ):
        match_checkpoints(study, Storage(str(tmp_path)))
    assert remaining(tmp_path) == before > needed - {study[1].checkpoint}
    with pytest.raises(
        InputError, match=r"^--resume: 3 of 3 checkpoints are not at .*/empty, such as session-1"
    ):
        match_checkpoints(study, Storage(str(tmp_path / "empty")))


def test_other_folders_than_checkpoints_are_kept(tmp_path: Path) -> None:
    others = {
        "mine/trial-0000/checkpoint_000000",
        "session-1/other/checkpoint_000000",
        "session-1/trial-0000/other",
        "session-1/checkpoint_000000",
    }
    for path in others:
        a_checkpoint(tmp_path, path)
    file = tmp_path / "session-1" / "trial-0000" / "checkpoint_notes.txt"
    file.touch()
    match_checkpoints(Study(None, "max"), Storage(str(tmp_path)))
    assert remaining(tmp_path) == others
    assert file.exists()


def test_without_a_place_there_is_nothing_to_remove(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    match_checkpoints(Study(None, "max"), Storage(str(tmp_path / "trials")))
    assert not capsys.readouterr().err


def test_a_folder_that_cannot_be_removed_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        a_checkpoint(tmp_path, f"session-1/trial-000{number}/checkpoint_000000")

    def refuse(self: Storage, path: str) -> None:
        if "trial-0003" not in path:
            raise PermissionError(f"{path} is not yours")
        fs.LocalFileSystem().delete_dir(f"{self.root}/{path}")

    monkeypatch.setattr(Storage, "remove", refuse)
    match_checkpoints(Study(None, "max"), Storage(str(tmp_path)))
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("Warning: 2 unused checkpoints cannot be removed, ")
    assert "session-1/trial-0001/checkpoint_000000" in said
    assert len(remaining(tmp_path)) == 2


def test_a_place_that_cannot_be_read_costs_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trials").touch()
    match_checkpoints(Study(None, "max"), Storage(str(tmp_path / "trials")))
    assert "Warning: old checkpoints cannot be listed: " in capsys.readouterr().err


def a_result(root: Path, number: int, index: int) -> dict[str, Any]:
    """The arguments of Ray's callback: a trial, and its existing checkpoint."""
    path = a_checkpoint(root, f"session-1/trial-000{number}/checkpoint_00000{index}")
    checkpoint = SimpleNamespace(path=f"{root}/{path}")
    return {"trial": SimpleNamespace(config={"number": number}), "checkpoint": checkpoint}


def a_state(study: Study, folder: Path) -> SessionState:
    settings = load().override({"logs_dir": str(folder)})
    space = from_tree(
        {"space": {"learn_rate": {"log_uniform": [1e-5, 1e-2]}}}, settings, source="search.yaml"
    )
    search = Search("mine", "uid", space, settings, Resources())
    return SessionState(search, study, Storage(str(folder)), IMPATIENT)


def a_keeper(study: Study, folder: Path) -> Keeper:
    return Keeper(a_state(study, folder), study, "session-1", "trial", lambda _: None)


def test_the_student_of_an_ended_run_is_removed(tmp_path: Path) -> None:
    study = Study(tmp_path / "study.json", "max")
    study.add({"learn_rate": 1e-3})
    study.plan_confirmation(Confirmation(0, (0,), None, (1, 2)))
    study.runs.add({"learn_rate": 1e-3, "seed": 1}, confirms=0)
    keeper = confirmation_of(a_state(study, tmp_path), "session-1", lambda _: Callback()).keeper
    arguments = a_result(tmp_path, 0, 0)
    study.runs.report(0, {"pairs_seen": 100.0, "o": 0.5}, "o")
    keeper.on_checkpoint(**arguments)
    keeper.on_trial_complete(trial=arguments["trial"])  # to be retried: it needs its checkpoint
    assert remaining(tmp_path) == {"session-1/trial-0000/checkpoint_000000"}
    study.runs.finish(0, "COMPLETE")
    keeper.on_trial_complete(trial=arguments["trial"])
    assert remaining(tmp_path) == set()
    assert Study.read(tmp_path / "study.json").runs[0].checkpoint is None
    assert not [*tmp_path.rglob("trials.csv")]


def test_a_new_checkpoint_is_entered_before_the_old_is_removed(tmp_path: Path) -> None:
    study = Study(tmp_path / "study.json", "max")
    study.add({"learn_rate": 1e-3})
    keeper = a_keeper(study, tmp_path)
    for index in (0, 1):
        keeper.on_checkpoint(**a_result(tmp_path, 0, index))
    newest = "session-1/trial-0000/checkpoint_000001"
    assert remaining(tmp_path) == {newest}
    assert Study.read(tmp_path / "study.json")[0].checkpoint == newest


def test_a_donors_checkpoint_outlives_a_takeover(tmp_path: Path) -> None:
    donors = a_checkpoint(tmp_path, "session-1/trial-0000/checkpoint_000000")
    study = Study(tmp_path / "study.json", "max")
    for number in (0, 1):
        study.add({"learn_rate": 1e-3})
        study[number].checkpoint = donors  # trial 1 has taken it over
    a_keeper(study, tmp_path).on_checkpoint(**a_result(tmp_path, 1, 1))
    assert remaining(tmp_path) == {donors, "session-1/trial-0001/checkpoint_000001"}


def test_a_checkpoint_is_on_the_disk_before_the_one_before_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, set[str]]] = []
    monkeypatch.setattr(
        Storage, "sync", lambda _, path: synced.append((path, remaining(tmp_path))), raising=True
    )
    study = Study(tmp_path / "study.json", "max")
    study.add({"learn_rate": 1e-3})
    keeper = a_keeper(study, tmp_path)
    for index in (0, 1):
        keeper.on_checkpoint(**a_result(tmp_path, 0, index))
    first, second = (f"session-1/trial-0000/checkpoint_00000{index}" for index in (0, 1))
    assert synced == [(first, {first}), (second, {first, second})]


def test_an_unremovable_checkpoint_warns_once_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Storage, path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(Storage, "remove", refuse)
    study = Study(tmp_path / "study.json", "max")
    keeper = a_keeper(study, tmp_path)
    for number in (0, 1):
        study.add({"learn_rate": 1e-3})
        for index in (0, 1):
            keeper.on_checkpoint(**a_result(tmp_path, number, index))
    said = "".join(capsys.readouterr().err.split("\n"))
    assert said.count("Warning: ") == 1
    assert "an old checkpoint cannot be removed: " in said
    assert "trial-0000/checkpoint_000000" in said
    assert [trial.checkpoint[-1] for trial in study if trial.checkpoint] == ["1", "1"]
