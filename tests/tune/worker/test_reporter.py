from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from disks import WAITS_FOR_ROOM, a_full_disk_then
from formula_search import settings_in
from formula_training import FormulaReport

from themo.files import disk_space
from tune.schedulers.asha import Asha
from tune.schedulers.rungs import Rungs
from tune.worker.reporter import Reporter, Send, StorageError
from tune.worker.trial_report import TrialReport


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_space, "SECONDS_BETWEEN_TRIES", 0.01)


def a_reporter(send: Send, pairs_seen: int = 0) -> Reporter:
    return Reporter(3, Asha(Rungs(first=200, factor=3)), lambda: 0.5, pairs_seen, send)


def a_report(logs_dir: Path, pairs: int, *, is_last: bool = False) -> FormulaReport:
    return FormulaReport({"pairs_seen": pairs, "o": pairs / 1000}, is_last, settings_in(logs_dir))


def test_judged_and_last_reports_carry_a_version(
    tmp_path: Path,
) -> None:
    versions: dict[float, bool] = {}
    folders: list[Path] = []

    def send(report: TrialReport, version: Path | None) -> None:
        versions[report.metrics["pairs_seen"]] = version is not None and (version / "progress.json").is_file()
        folders.extend([version] if version else [])

    reporter = a_reporter(send)
    for pairs in (100, 200, 300, 500, 700):
        reporter(a_report(tmp_path, pairs))
    reporter(a_report(tmp_path, 800, is_last=True))
    assert versions == {100: False, 200: True, 300: False, 500: False, 700: True, 800: True}
    assert not any(folder.exists() for folder in folders)


def test_a_resumed_trial_is_not_judged_again_at_its_rung(tmp_path: Path) -> None:
    versions: list[Path | None] = []
    reporter = a_reporter(lambda _, version: versions.append(version), pairs_seen=200)
    reporter(a_report(tmp_path, 300))
    assert versions == [None]


def test_a_report_has_trial_metrics_memory_and_times(tmp_path: Path) -> None:
    sent: list[TrialReport] = []
    reporter = a_reporter(lambda report, _: sent.append(report))
    reporter(a_report(tmp_path, 100))
    reporter.wait("a place")
    reporter.fail("a bug", "Traceback", is_memory_fault=True)
    first, waits, failure = sent
    assert (first.number, first.metrics, first.gpu_memory) == (3, {"pairs_seen": 100, "o": 0.1}, 0.5)
    assert (first.is_last, first.waits, first.failure) == (False, "", "")
    assert (waits.metrics, waits.waits, waits.is_last) == ({}, "a place", False)
    assert (failure.failure, failure.traceback, failure.is_memory_fault) == ("a bug", "Traceback", True)
    assert failure.is_last
    assert first.started == failure.started <= first.ended <= failure.ended
    assert 0 <= first.seconds <= failure.seconds


def test_an_unstorable_report_is_not_the_trials_failure(tmp_path: Path) -> None:
    def send(report: TrialReport, version: Path | None) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(StorageError, match=r"a report cannot be stored: .*Input/output error"):
        a_reporter(send)(a_report(tmp_path, 100))


def test_a_full_disk_is_waited_for_and_reported_to_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = FormulaReport.save
    room_for_one = a_full_disk_then(lambda: None)

    def save_where_there_is_room(report: FormulaReport, folder: Path) -> None:
        folder.mkdir()
        (folder / "half").touch()  # files of a failed try must not block the next one
        room_for_one()
        shutil.rmtree(folder)
        save(report, folder)

    monkeypatch.setattr(FormulaReport, "save", save_where_there_is_room)
    assert_wait_for_space_is_reported(tmp_path)


def test_room_for_the_folder_of_a_version_is_waited_for_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp
    room_for_one = a_full_disk_then(lambda: None)

    def make_where_there_is_room(*args: Any, **options: Any) -> str:
        room_for_one()
        return make(*args, **options)

    monkeypatch.setattr(tempfile, "mkdtemp", make_where_there_is_room)
    assert_wait_for_space_is_reported(tmp_path)


def assert_wait_for_space_is_reported(logs_dir: Path) -> None:
    sent: list[TrialReport] = []
    a_reporter(lambda report, _: sent.append(report))(a_report(logs_dir, 200))
    assert [(report.waits, report.metrics.get("pairs_seen")) for report in sent] == [
        (WAITS_FOR_ROOM, None),
        ("", 200),
    ]
