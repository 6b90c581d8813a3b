"""The record of a test beside a version that is still trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny import write_version_of

from themo.checkpoints import versions
from themo.checkpoints.versions import Checkpoint, Identity, identity_of, write_version
from themo.config.settings import Settings
from themo.evaluation import recording
from themo.evaluation.recording import is_current, score_and_record, write_test

SCORES = {"student": {"retrieval@01": 0.5}, "n": {"retrieval": 8}}


@dataclass(frozen=True)
class Scored:
    """Replaces an `Examination`, whose scores take seconds."""

    student: Identity | None

    def to_dict(self) -> dict[str, Any]:
        return SCORES


@pytest.fixture
def version(tmp_path: Path, tiny_settings: Settings) -> Path:
    return write_version_of(tiny_settings, tmp_path / "logs" / "tiny" / "version_0", dimension=12)


def replace_student(version: Path, settings: Settings, before: Callable[[], object] = lambda: None) -> None:
    """Report a better student, as a training does; `before` is called while its files are written."""

    def save(new: Path) -> None:
        before()
        shutil.copytree(version / "student", new, dirs_exist_ok=True)

    checkpoint = Checkpoint({}, {"pairs_seen": 1})
    write_version(
        version, settings=settings, reports=[], summary={}, save_student=save, checkpoint=checkpoint
    )


@pytest.fixture
def score(version: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Score the version; `during` is called after the student was read. Without MLflow."""

    def run(during: Callable[[], object] = lambda: None) -> None:
        def examine(*_: object, **__: object) -> Scored:
            tested = Scored(identity_of(version / "student"))
            during()
            return tested

        monkeypatch.setattr("themo.evaluation.encoders.examine", examine)
        monkeypatch.setattr("themo.evaluation.version_run.tracking_of", lambda *_, **__: nullcontext())
        score_and_record(tiny_settings, version, "all", baseline=False)

    return run


def test_scores_of_the_student_on_disk_are_recorded(
    version: Path, score: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    (version / "report.html").write_text("of an earlier test")
    score()
    assert json.loads((version / "test.json").read_text()) == SCORES
    assert not (version / "report.html").exists()
    assert "Written: " in capsys.readouterr().err


def test_scores_of_a_replaced_student_are_not_recorded(
    version: Path, tiny_settings: Settings, score: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    score(lambda: replace_student(version, tiny_settings))
    assert not (version / "test.json").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"Not recorded: {version / 'student'} was replaced during the test, whose scores are"
    )
    assert line.endswith(f"to test the new one: python -m themo test --version-path {version}")


def test_scores_written_while_the_student_is_replaced_are_gone(
    version: Path, tiny_settings: Settings
) -> None:
    """The training has removed the old scores already, and renames the new student later."""
    tested: Any = Scored(identity_of(version / "student"))
    replace_student(version, tiny_settings, before=lambda: write_test(version, tested))
    assert not (version / "test.json").exists()


def test_a_student_replaced_as_scores_are_written_removes_them(
    version: Path, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the comparison of the students and the file."""
    tested: Any = Scored(identity_of(version / "student"))
    plain, done = is_current, []

    def check(folder: Path, of: Any) -> bool:
        current = plain(folder, of)
        if not done:
            done.append(True)
            replace_student(version, tiny_settings)
        return current

    monkeypatch.setattr(recording, "is_current", check)
    assert write_test(version, tested) is None
    assert not (version / "test.json").exists()


def test_a_student_between_its_two_renames_is_current(version: Path) -> None:
    tested: Any = Scored(identity_of(version / "student"))
    (version / "student").rename(versions.old_name(version / "student"))
    assert is_current(version, tested)
    shutil.rmtree(versions.old_name(version / "student"))
    assert not is_current(version, tested)
