"""The file of all reports of a search."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from themo.files.disk_space import IMPATIENT
from tune.study.reports import REPORTS_FILE, ReadReports, ReportLog


def steps(reports: ReadReports, run: str = "0") -> list[int]:
    reports.look()
    return [point.step for point in reports.of(run)]


def append(folder: Path, pairs: int, run: str = "0") -> None:
    ReportLog(folder, IMPATIENT).append(run, 1000 + pairs, {"pairs_seen": float(pairs), "a": 0.5})


def test_each_look_reads_only_new_reports(tmp_path: Path) -> None:
    reports = ReadReports(tmp_path)
    assert steps(reports) == []  # an older search has no file
    for n in (1, 2, 3):
        append(tmp_path, 100 * n)
        append(tmp_path, 7, run="1")
        assert steps(reports) == [100 * k for k in range(1, n + 1)]
    assert steps(reports, "1") == [7]
    assert reports.n_read == (tmp_path / REPORTS_FILE).stat().st_size
    (first, *_) = reports.of("0")
    assert (first.at, first.metrics) == (1100, {"pairs_seen": 100.0, "a": 0.5})


def test_the_first_report_of_a_step_counts(tmp_path: Path) -> None:
    reports = ReadReports(tmp_path)
    for pairs in (100, 200, 300, 200, 300, 400):
        append(tmp_path, pairs)
    assert steps(reports) == [100, 200, 300, 400]
    for pairs in (300, 400, 500):
        append(tmp_path, pairs)
    assert steps(reports) == [100, 200, 300, 400, 500]


def test_a_torn_line_is_not_read_and_the_next_replaces_it(tmp_path: Path) -> None:
    append(tmp_path, 100)
    with (tmp_path / REPORTS_FILE).open("a") as file:
        file.write('{"run": "0", "at": 5, "me')
    reports = ReadReports(tmp_path)
    assert steps(reports) == [100]
    append(tmp_path, 200)
    assert steps(reports) == [100, 200]
    assert [json.loads(line)["at"] for line in (tmp_path / REPORTS_FILE).read_text().splitlines()] == [
        1100,
        1200,
    ]


@pytest.mark.parametrize("damage", ['{"run": "0", "at', "7", '{"run": "0", "at": 5}'])
def test_a_damaged_line_costs_no_other_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    append(tmp_path, 100)
    with (tmp_path / REPORTS_FILE).open("a") as file:
        file.write(damage + "\n")
    append(tmp_path, 200)
    assert steps(ReadReports(tmp_path)) == [100, 200]
    printed = capsys.readouterr()
    assert f"{REPORTS_FILE}: leaves out a damaged line: " in "".join((printed.out + printed.err).split("\n"))


def test_a_kill_loses_no_report_that_was_written(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from themo.files.disk_space import IMPATIENT
from tune.study.reports import ReportLog
log, i = ReportLog(Path({str(tmp_path)!r}), IMPATIENT), 0
while True:
    i += 1
    log.append("0", i, {{"pairs_seen": i}})
    print(i, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        printed = [int(writer.stdout.readline()) for _ in range(200)]
        os.kill(writer.pid, signal.SIGKILL)
    found = steps(ReadReports(tmp_path))
    assert found[: len(printed)] == printed
    assert found == list(range(1, len(found) + 1))


def test_a_full_disk_takes_a_report_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(tmp_path, 100)
    write = io.FileIO.write

    class Full(io.FileIO):
        def write(self, data: Any, /) -> int:
            if self.tell() > os.fstat(self.fileno()).st_size:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(self, data[:5])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode, **_: Full(path, mode))
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                append(tmp_path, 200)
    assert steps(ReadReports(tmp_path)) == [100]
    append(tmp_path, 300)
    assert steps(ReadReports(tmp_path)) == [100, 300]
