"""A training run from its settings to its result: data, MLflow, reports, version directory.

`training_run` serves the command ``train``; `train` and `prepare` are `themo.train` and `themo.prepare`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from themo.checkpoints.versions import (
    ENDED,
    add_to_summary,
    keep_run_keys,
    new_version,
    read_progress,
    read_run_keys,
    training_lock,
)
from themo.config.settings import Settings
from themo.config.worlds import load_for_training, toy_parts
from themo.data.dataset import TrainingData
from themo.data.preparation import prepare_data
from themo.data.test_files import fetch_captions
from themo.errors import InputError
from themo.evaluation.version_run import project_version
from themo.process.devices import resolve_device
from themo.process.output import typed, with_command
from themo.process.progress import console, silence, track
from themo.tracking.known_databases import opens
from themo.tracking.projection import Projection, RunStatus
from themo.tracking.runs import Tracking
from themo.tracking.unsent import MARK_FILE, marked
from themo.tracking.uri import check_reachable, tracking_uri
from themo.training.briefing import briefing
from themo.training.loop import Report
from themo.training.loop import train as train_student
from themo.training.preconditions import refuse_unfit
from themo.training.request import settings_of_run
from themo.training.result import TrainResult, read_result

STOP = "stop"
"""Return value of a callback that ends the run after the report."""

OnReport = Callable[[Report], str | None]
"""A callback of `train`, called at every report; returns None, or `STOP`."""

FilePath = str | os.PathLike[str]


class TrainingRun:
    """A run that is ready to train; made by `training_run`.

    Attributes:
        version: The version directory.
    """

    def __init__(
        self,
        settings: Settings,
        data: TrainingData,
        resume: Path | None,
    ) -> None:
        self.version = resume or new_version(Path(settings.paths.logs_dir), settings.paths.experiment)
        self._settings = settings
        self._data = data
        self._resume = resume
        self._tracking: Tracking | None = None
        self._has_stepped = False
        # a resumed version resumes its run in MLflow too; versions of older Themos have no key
        self._key = next(iter(read_run_keys(resume) if resume else []), uuid.uuid4().hex)
        self._status: RunStatus | None = None

    def track(self) -> Tracking:
        """Log to MLflow within a context, whose end waits for MLflow.

        Raises:
            InputError: The server is unreachable, or another process sends the version's run.
        """
        uri, experiment = tracking_uri(Path(self._settings.paths.logs_dir)), self._settings.paths.experiment
        must_answer = not opens(uri, experiment)  # else MLflow is loaded after the first step
        self._tracking = Tracking(uri, experiment, self._project, self.version, must_answer=must_answer)
        return self._tracking

    def _project(self) -> Projection:
        if self._status is None:
            return Projection()
        return project_version(self.version, self._settings, self._key, self._status)

    def train(self, report: OnReport | None = None) -> TrainResult:
        """Train to the end, or until `report` returns ``"stop"``; the version is written at every report.

        Raises:
            FloatingPointError, InputError: As in `themo.training.loop.train`; or `report` returned something
                else than None and ``"stop"``.
        """
        self._status = "RUNNING"
        try:
            with suppress(_StoppedError):
                self._train(report)
        except BaseException as error:
            self._status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            with suppress(OSError, InputError):  # a full disk, or no summary that can be read
                add_to_summary(self.version, **{ENDED: self._status})
            raise
        self._status = "FINISHED"
        return read_result(self.version)

    def _train(self, report: OnReport | None) -> None:
        settings, resume = self._settings, self._resume
        done = int(read_progress(resume)["pairs_seen"]) if resume else 0
        total = round(settings.training.epochs * self._data.pairs_an_epoch)
        with track("Training", total, "pairs", before=done) as advance:

            def step(pairs: int, loss: float) -> None:
                advance(pairs, f"loss {loss:.4f}")
                if self._tracking is not None and not self._has_stepped:
                    self._tracking.wake()  # which loads MLflow
                self._has_stepped = True

            train_student(
                settings,
                self._data,
                report=lambda last: self._report(last, report),
                resume=resume,
                on_step=step,
                on_begin=self._print_briefing,
            )

    def _print_briefing(self, facts: Mapping[str, Any]) -> None:
        for line in briefing(self._settings, self._data, facts):
            console.print(line, soft_wrap=True)

    def _report(self, last: Report, report: OnReport | None) -> None:
        if self._tracking is not None:
            keep_run_keys(self.version, self._key)
        last.save(self.version)
        if self._tracking is not None:
            self._tracking.wake()
        answer = report(last) if report is not None else None
        if answer not in (None, STOP):
            raise InputError(f"report must return None or {STOP!r}, got {answer!r}")
        if answer == STOP and not last.is_last:
            add_to_summary(self.version, state="stopped early")
            raise _StoppedError


class _StoppedError(Exception):
    """A callback has ended the run."""


@contextmanager
def training_run(
    settings: Settings, *, data: TrainingData | None = None, resume: Path | None = None, mlflow: bool = True
) -> Iterator[TrainingRun]:
    """Prepare a run; at the end of the block wait for MLflow.

    Args:
        settings: From `settings_of_run`.
        data: Prepared data of these settings; None: prepared here, from the cache where possible.
        resume: Version directory of an unfinished run of these settings.
        mlflow: Whether to log to MLflow.

    Yields:
        The run. A version directory without a report is removed.

    Raises:
        InputError: The device, the data, the version to resume or MLflow's server is unfit, or another
            process trains the version.
    """
    for line in toy_parts(settings):
        console.print(line, soft_wrap=True)
    resolve_device(settings.training.device)
    logs_dir = Path(settings.paths.logs_dir)
    if mlflow:
        check_reachable(tracking_uri(logs_dir))
    if data is None:
        data = _prepared(settings, is_new=resume is None)
    refuse_unfit(settings, data, resume)
    run = TrainingRun(settings, data, resume)
    try:
        with training_lock(run.version), run.track() if mlflow else nullcontext():
            for other in marked(logs_dir) if mlflow else []:
                label = f"Not all in MLflow: {other}; to send it: "
                console.print(with_command(label, typed("send", other), console))
            yield run
    finally:
        with suppress(OSError):  # a version with a report is not empty and stays
            if [path.name for path in run.version.iterdir()] == [MARK_FILE]:
                (run.version / MARK_FILE).unlink()  # no report, so nothing to send
            run.version.rmdir()


def _prepared(settings: Settings, *, is_new: bool = True) -> TrainingData:
    if is_new:
        fetch_captions(settings)
    return prepare_data(settings)


def plain_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert settings of a program to YAML values: paths become strings."""

    def plain(value: Any) -> Any:
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return {name: plain(value) for name, value in values.items()}


def path_if_given(path: FilePath | None) -> Path | None:
    """Return a path with ``~`` expanded; None for None."""
    return None if path is None else Path(path).expanduser()


def train(
    *,
    config: FilePath | None = None,
    preset: str | None = None,
    data: TrainingData | None = None,
    resume: FilePath | None = None,
    report: OnReport | None = None,
    mlflow: bool = True,
    quiet: bool = False,
    **settings: Any,
) -> TrainResult:
    """Train one student, as the command ``train`` does; nothing is printed on standard output.

    Args:
        config: YAML file of settings; excludes `preset`.
        preset: Name of a preset; ``miniature`` where neither is given.
        data: From `prepare` with the same corpus, teacher and backbone, to prepare them once for many runs.
            None: prepared on demand, from the cache where possible.
        resume: Version directory of an unfinished run, which keeps its settings: give no others.
        report: Called at every report, after the version directory was written. ``"stop"`` ends the run with
            this report; None continues.
        mlflow: Log to MLflow, as the command does.
        quiet: Print no progress on standard error.
        **settings: Settings by leaf name, as in YAML: ``batch_size=256``, ``corpus=["pairs.tsv"]``.

    Raises:
        InputError: A setting, a file that it names, or the return value of `report` is invalid.
        FloatingPointError: The loss or a validation metric is not finite.
    """
    version = path_if_given(resume)
    chosen = settings_of_run(path_if_given(config), preset, plain_settings(settings), version)
    with (
        silence() if quiet else nullcontext(),
        training_run(chosen, data=data, resume=version, mlflow=mlflow) as run,
    ):
        return run.train(report)


def prepare(
    *, config: FilePath | None = None, preset: str | None = None, quiet: bool = False, **settings: Any
) -> TrainingData:
    """Prepare the training data of settings, as the command ``prepare`` does; arguments as in `train`.

    Returns:
        Token ids and teacher vectors, memory-mapped, for `train` with `data`.

    Raises:
        InputError: A setting or a file that it names is invalid.
    """
    chosen = load_for_training(path_if_given(config), preset, plain_settings(settings))
    with silence() if quiet else nullcontext():
        return _prepared(chosen)
