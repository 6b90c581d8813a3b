"""A trial's reports on their way from the worker: with checkpoints, past a full disk or an absent storage."""

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
from tune.worker.trial_report import TrialReport

Tell = Callable[[TrialReport, Path | None], None]
"""Takes a report to the driver, with a version directory that may be deleted once the call returns."""


class StorageError(Exception):
    """Data or a checkpoint did not reach the worker, or a report the driver: no fault of the trial's."""


class Report(Protocol):
    """What a training function reports; `themo.training.loop.Report`."""

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
        scheduler: Knows where it is judged.
        measure: Tells what the trial took of its GPU's memory.
        pairs_seen: By the trial before it was taken up here.
        tell: Takes reports to the driver.
    """

    def __init__(
        self,
        number: int,
        scheduler: Scheduler,
        measure: Callable[[], float | None],
        pairs_seen: int,
        tell: Tell,
    ) -> None:
        self._number = number
        self._scheduler = scheduler
        self._measure = measure
        self._pairs = pairs_seen
        self._tell = tell
        self._started = time.time()
        self._clock = time.monotonic()

    def __call__(self, report: Report) -> None:
        """Send a report.

        Raises:
            StorageError: It cannot be stored.
        """
        pairs = int(report.metrics["pairs_seen"])
        is_judged = self._scheduler.is_judged(self._number, self._pairs, pairs)
        self._pairs = pairs
        if not (is_judged or report.is_last):
            self._deliver(self._told(report), None)
            return
        with ExitStack() as stack:
            wait_for_room = Patience(tell=self.wait)
            version = wait_for_room(lambda: folder_for_version(stack)) / "version"

            def save() -> None:
                shutil.rmtree(version, ignore_errors=True)
                report.save(version)

            wait_for_room(save)
            self._deliver(self._told(report), version)  # of now: writing took time

    def _told(self, report: Report) -> TrialReport:
        return replace(self._now(), metrics=dict(report.metrics), is_last=report.is_last)

    def _deliver(self, told: TrialReport, version: Path | None) -> None:
        try:
            self._tell(told, version)
        except Exception as error:  # whatever it is: at the next attempt it may be over
            raise StorageError(f"a report cannot be stored: {reason_of(error)}") from error

    def wait(self, for_what: str) -> None:
        """Let the driver know why nothing comes."""
        self._tell(replace(self._now(), waits=for_what), None)

    def fail(self, reason: str, details: str = "", *, is_memory_fault: bool = False) -> None:
        """Let the driver know that the trial is over, and why."""
        now = self._now()
        told = replace(now, is_last=True, failure=reason, traceback=details, is_memory_fault=is_memory_fault)
        self._tell(told, None)

    def _now(self) -> TrialReport:
        """A report of nothing yet but the trial, when and where."""
        return TrialReport(
            number=self._number,
            metrics={},
            seconds=time.monotonic() - self._clock,
            started=self._started,
            ended=time.time(),
            machine=platform.node(),
            gpu_memory=self._measure(),
        )


def tell_tune(told: TrialReport, version: Path | None) -> None:
    """Report to Ray Tune; a version waits for a storage that is full or away, and the driver is told."""
    result = told.to_result()
    if version is None:
        ray_tune.report(result)
        return
    storage = get_session().storage
    files, before = storage.storage_filesystem, storage.current_checkpoint_index

    def report() -> None:
        if storage.current_checkpoint_index != before:  # half of it stands there, from the time before
            if files.get_file_info(storage.checkpoint_fs_path).type != pyarrow.fs.FileType.NotFound:
                files.delete_dir(storage.checkpoint_fs_path)
            storage.current_checkpoint_index = before
        ray_tune.report(result, checkpoint=ray_tune.Checkpoint.from_directory(str(version)))

    wait_for_storage(
        report,
        lambda: answers(files, storage.storage_fs_path),
        lambda for_what: tell_tune_of_waiting(told, for_what),
    )


def tell_tune_of_waiting(told: TrialReport, for_what: str) -> None:
    """Let the driver know why a report does not come."""
    ray_tune.report(replace(told, metrics={}, is_last=False, waits=for_what).to_result())


def folder_for_version(stack: ExitStack) -> Path:
    """A new folder of this machine, until `stack` closes."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="themo-version-")))
