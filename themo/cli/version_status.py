"""The status of a version, read from its directory during or after its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from themo.checkpoints.versions import ENDED, TEST_FILE, is_training, read_run_summary
from themo.evaluation.report.tables import read_scores
from themo.evaluation.score_names import STUDENT
from themo.process.output import listed, typed, with_command

_RUNNING, _INTERRUPTED, _FAILED = "running", "interrupted", "failed"


@dataclass(frozen=True)
class VersionStatus:
    """Status of the run of a version directory.

    Attributes:
        version: The directory.
        summary: Content of its ``summary.json``.
        is_training: Whether a process trains it.
        test: The student's scores in its ``test.json``; None if it was not tested.
    """

    version: Path
    summary: Mapping[str, Any]
    is_training: bool
    test: Mapping[str, float] | None

    @property
    def state(self) -> str:
        """State of the run; "failed" or "interrupted" where no process trains an unfinished one."""
        state = str(self.summary.get("state"))
        if state != _RUNNING or self.is_training:
            return state
        return _FAILED if self.summary.get(ENDED) == "FAILED" else _INTERRUPTED

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``status VERSION --json`` prints."""
        return {
            "version": str(self.version),
            "state": self.state,
            "best": self.summary.get("best", {}),
            "last": self.summary.get("last", {}),
            "test": self.test,
        }

    def lines(self) -> list[str]:
        """Return the lines that ``status VERSION`` prints."""
        last = self.summary.get("last", {})
        lines = [f"Version {self.version} ({self.state})"]
        if {"epoch", "pairs_seen"} <= set(last):
            lines[0] += f": {last['epoch']:.2f} epochs, {last['pairs_seen']:,.0f} pairs"
        if best := [f"{name} {value:.4f}" for name, value in self.summary.get("best", {}).items()]:
            lines.append(listed("Best:          ", best))
        if self.test:
            scores = [f"{name} {value:.3f}" for name, value in self.test.items()]
            lines.append(listed("Test:          ", scores))
        if self.state in (_RUNNING, _INTERRUPTED):
            label = "If killed: " if self.state == _RUNNING else "To resume:     "
            lines.append(with_command(label, typed("train", "--resume", self.version)))
        elif self.test is None:
            lines.append(with_command("Test it:       ", typed("test", "--version-path", self.version)))
        return lines


def read_version_status(version: Path) -> VersionStatus:
    """Read the status of a version directory; change nothing.

    Raises:
        InputError: The summary is missing or no record of a run, or ``test.json`` is damaged.
    """
    test_file = version / TEST_FILE
    test = read_scores(test_file).get(STUDENT) if test_file.is_file() else None
    return VersionStatus(version, read_run_summary(version), is_training(version), test)
