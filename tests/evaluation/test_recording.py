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
import torch
from mlflow import MlflowClient
from tiny import write_version_of

from themo.checkpoints import versions
from themo.checkpoints.versions import Checkpoint, Identity, identity_of, write_version
from themo.cli.main import main
from themo.config.settings import Settings
from themo.errors import InputError
from themo.evaluation import recording
from themo.evaluation.recording import is_current, score_and_record, write_test
from themo.evaluation.scores import Scores
from themo.tracking.uri import tracking_uri

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


def measured_at(benchmarks: object) -> str:
    size = {"retrieval@01": 0.5, "dimension": 12, "megabytes": 1.0, "ms_a_text": 1.0, "texts_a_second": 9.0}
    scores = Scores({"retrieval": {"student": torch.tensor([0, 0, 2, 30])}}).to_dict()
    return json.dumps(scores | {"benchmarks": benchmarks, "sizes": {"student": size}})


@pytest.mark.parametrize("is_same", [True, False])
def test_report_keeps_sizes_of_the_same_test_data(
    version: Path, tiny_settings: Settings, is_same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmarks = tiny_settings.benchmarks.model_dump(mode="json")
    (version / "test.json").write_text(
        measured_at(benchmarks if is_same else benchmarks | {"captions": "other"})
    )
    asked = asked_to_score(monkeypatch)
    assert main(["report", str(version)]) == 130
    assert (asked[0]["sizes"] is not None) == is_same


def test_report_of_a_version_uses_the_given_logs(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_to_score(monkeypatch)
    assert main(["report", str(version), "--logs-dir", str(tmp_path / "elsewhere")]) == 130
    assert asked[0]["settings"].paths.logs_dir == str(tmp_path / "elsewhere")


def asked_to_score(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Arguments of `score_and_record`, which then interrupts the command."""
    asked: list[dict[str, Any]] = []

    def score(settings: Settings, *_: object, **options: Any) -> None:
        asked.append({"settings": settings, **options})
        raise KeyboardInterrupt

    monkeypatch.setattr(recording, "score_and_record", score)
    return asked


@pytest.mark.slow  # MLflow takes seconds to begin
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of mlflow
@pytest.mark.parametrize("fails", [False, True])
def test_mlflow_gets_what_is_added_to_the_scores(
    version: Path, tiny_settings: Settings, tmp_path: Path, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def examine(*_: object, **__: object) -> Any:
        return Scored(identity_of(version / "student"))

    def measure(tested: Any) -> None:
        if fails:
            raise InputError("an export is damaged")
        write_test(version, tested, {"es": {"retrieval@01": 0.25}})

    monkeypatch.setattr("themo.evaluation.encoders.examine", examine)
    with pytest.raises(InputError, match="damaged") if fails else nullcontext():
        score_and_record(tiny_settings, version, "all", baseline=False, then=measure)
    client = MlflowClient(tracking_uri(Path(tiny_settings.paths.logs_dir)))
    experiment = client.get_experiment_by_name(tiny_settings.paths.experiment)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["test/retrieval_at_01"] == 0.5
    logged = Path(client.download_artifacts(run.info.run_id, "test.json", str(tmp_path))).read_text()
    assert logged == (version / "test.json").read_text()
    assert ("sizes" in logged) != fails


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
