"""Sends a trial's reports and checkpoints from the worker; waits for a full disk or unreachable storage."""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pyarrow.fs
from ray import tune as ray_tune
from ray.train._internal.session import get_session

from themo.errors import reason_of
from themo.files.disk_space import Patience
from tune.cluster.storage import answers, wait_for_storage
from tune.schedulers.scheduler import Scheduler
from tune.space.search_settings import Resource
from tune.study.resource import amount_in
from tune.worker.trial_report import TrialReport

Send = Callable[[TrialReport, Path | None], None]
"""Sends a report to the driver, with a version directory that may be deleted after the call."""


class StorageError(Exception):
    """Data, a checkpoint or a report did not arrive; the trial is retried."""


class Report(Protocol):
    """A report of a training function; `themo.training.loop.Report`."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Numbers by name, ``pairs_seen`` among them."""

    @property
    def is_last(self) -> bool:
        """Whether training is over."""

    def save(self, folder: Path) -> None:
        """Write a version directory into a new folder."""


class Reporter:
    """Sends reports to the driver, with a checkpoint wherever the trial is judged and at the end.

    Args:
        number: The trial.
        scheduler: Decides at which reports the trial is judged.
        measure: Returns the trial's peak share of its GPU's memory.
        before: Amount of the search's resource that the trial had used before this attempt.
        send: Sends reports to the driver.
        resource: The counted resource.
        is_spent: Whether a trial is complete after a number of seconds of training
            (`SearchSettings.is_spent`).
    """

    def __init__(
        self,
        number: int,
        scheduler: Scheduler,
        measure: Callable[[], float | None],
        before: float,
        send: Send,
        resource: Resource = "pairs",
        is_spent: Callable[[float], bool] = lambda _seconds: False,
    ) -> None:
        self._number = number
        self._scheduler = scheduler
        self._measure = measure
        self._before = before
        self._send = send
        self._resource = resource
        self._is_spent = is_spent
        self._started = time.time()
        self._clock = time.monotonic()
        self._constant: Mapping[str, float] = {}

    def add_to_reports(self, metrics: Mapping[str, float]) -> None:
        """Add metrics, which do not change, to every report from now on."""
        self._constant = metrics

    def __call__(self, report: Report) -> None:
        """Send a report.

        Raises:
            StorageError: The report cannot be stored.
        """
        now = amount_in(report.metrics, self._resource)
        is_judged = self._scheduler.is_judged(self._number, self._before, now)
        self._before = now
        if not (is_judged or report.is_last or self._is_spent(now)):
            self._deliver(self._report_of(report), None)
            return
        with ExitStack() as stack:
            patience = Patience(warn=self.wait)
            version = patience(lambda: folder_for_version(stack)) / "version"

            def save() -> None:
                shutil.rmtree(version, ignore_errors=True)
                report.save(version)

            patience(save)
            self._deliver(self._report_of(report), version)  # with the time after writing

    def _report_of(self, report: Report) -> TrialReport:
        metrics = {**report.metrics, **self._constant}
        return replace(self._now(), metrics=metrics, is_last=report.is_last)

    def _deliver(self, message: TrialReport, version: Path | None) -> None:
        try:
            self._send(message, version)
        except Exception as error:  # any error: a retry may succeed
            raise StorageError(f"a report cannot be stored: {reason_of(error)}") from error

    def wait(self, for_what: str) -> None:
        """Report to the driver the reason why the worker waits."""
        self._send(replace(self._now(), waits=for_what), None)

    def fail(self, reason: str, details: str = "", *, is_memory_fault: bool = False) -> None:
        """Report the trial's failure to the driver."""
        now = self._now()
        message = replace(
            now, is_last=True, failure=reason, traceback=details, is_memory_fault=is_memory_fault
        )
        self._send(message, None)

    def _now(self) -> TrialReport:
        """A report with the trial, times, machine and memory, without metrics."""
        return TrialReport(
            number=self._number,
            metrics={},
            seconds=time.monotonic() - self._clock,
            started=self._started,
            ended=time.time(),
            machine=platform.node(),
            gpu_memory=self._measure(),
        )


def report_to_tune(message: TrialReport, version: Path | None) -> None:
    """Report to Ray Tune; if the storage is full or unreachable, notify the driver and wait."""
    result = message.to_result()
    if version is None:
        ray_tune.report(result)
        return
    storage = get_session().storage
    files, before = storage.storage_filesystem, storage.current_checkpoint_index

    def report() -> None:
        if storage.current_checkpoint_index != before:  # the last attempt left a partial copy
            if files.get_file_info(storage.checkpoint_fs_path).type != pyarrow.fs.FileType.NotFound:
                files.delete_dir(storage.checkpoint_fs_path)
            storage.current_checkpoint_index = before
        ray_tune.report(result, checkpoint=ray_tune.Checkpoint.from_directory(str(version)))

    wait_for_storage(
        report,
        lambda: answers(files, storage.storage_fs_path),
        lambda for_what: notify_tune_of_waiting(message, for_what),
    )


def notify_tune_of_waiting(message: TrialReport, for_what: str) -> None:
    """Report to the driver the reason why a report waits."""
    ray_tune.report(replace(message, metrics={}, is_last=False, waits=for_what).to_result())


def folder_for_version(stack: ExitStack) -> Path:
    """A new temporary folder, removed when `stack` closes."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="themo-version-")))
