"""All reports of a search's trials in their order, in ``reports.jsonl``: metrics and times, for MLflow.

``study.json`` keeps only the last metrics of a trial. A line is a report, such as ``{"run": "3", "at":
1764391200000, "metrics": {...}}``; ``run`` is the run's name in `tune.results.run_tags.run_name`, ``at`` the
driver's clock in milliseconds. A trial that resumes from a checkpoint repeats reports; the first one of a
step counts.
"""

from __future__ import annotations

import errno
import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from themo.errors import fault_of
from themo.files.disk_space import Patience
from themo.process.progress import console
from themo.tracking.projection import Point

REPORTS_FILE = "reports.jsonl"


class ReportLog:
    """Adds reports to the file of a search.

    Args:
        folder: The search directory.
        patience: Retries while the disk is full.
    """

    def __init__(self, folder: Path, patience: Patience) -> None:
        self._path = folder / REPORTS_FILE
        self._patience = patience

    def append(self, run: str, at: int, metrics: Mapping[str, float]) -> None:
        """Append a report atomically.

        Raises:
            OSError: The file cannot be written.
        """
        line = json.dumps({"run": run, "at": at, "metrics": dict(metrics)}).encode() + b"\n"
        self._patience(lambda: self._write(line))

    def _write(self, line: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            end = _whole(self._path)
            try:
                os.ftruncate(file.fileno(), end)  # a line that a kill cut short
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            except OSError:
                os.ftruncate(file.fileno(), end)
                raise


class ReadReports:
    """Incremental reader of a search's reports: each `look` reads only the new ones.

    Args:
        folder: The search directory.

    Attributes:
        n_read: Number of bytes read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / REPORTS_FILE
        self.n_read = 0
        self._points: dict[str, tuple[Point, ...]] = defaultdict(tuple)

    def of(self, run: str) -> tuple[Point, ...]:
        """The reports of a run at the last `look`, in the order of their steps."""
        return self._points.get(run, ())

    def look(self) -> None:
        """Read the new reports; an older search has no file. A damaged line is left out, which is printed."""
        try:
            with self._path.open("rb") as file:
                file.seek(self.n_read)
                added = file.read()
        except FileNotFoundError:
            return
        added = added[: added.rfind(b"\n") + 1]
        self.n_read += len(added)
        new: dict[str, list[Point]] = defaultdict(list)
        for line in added.splitlines():
            try:
                entry = json.loads(line)
                point = Point(int(entry["metrics"].get("pairs_seen", 0)), entry["at"], entry["metrics"])
                run = str(entry["run"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                console.print(f"{self._path}: leaves out a damaged line: {fault_of(error)}")
                continue
            known = new[run] or self._points[run]
            if not known or point.step > known[-1].step:
                new[run].append(point)
        for run, points in new.items():
            self._points[run] += tuple(points)


def _whole(path: Path) -> int:
    """Number of bytes of the complete lines of a file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _LONGEST_LINE))
        tail = file.read()
    return size if not size or tail.endswith(b"\n") else size - len(tail) + tail.rfind(b"\n") + 1


_LONGEST_LINE = 1 << 20
