"""The reusable training function: settings and data in, reports out.

It depends on neither Ray, MLflow nor the command line. The caller passes `report`, which may save, log, or
raise to stop the training.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from themo.checkpoints.environment import describe
from themo.checkpoints.resumption import Progress, restore, take_checkpoint
from themo.checkpoints.versions import Metrics, write_version
from themo.config.sections import HIGHER_IS_BETTER, Objective
from themo.config.settings import Settings
from themo.data.batches import assemble, plan_steps, token_counts
from themo.data.dataset import TrainingData
from themo.models.axes import write_axes
from themo.models.student import Head, Student, save_student
from themo.models.tokens import Tokenizer
from themo.process.devices import resolve_device, resolve_precision
from themo.training import report_times
from themo.training.adam import Adam
from themo.training.distributed import Group
from themo.training.losses import build_loss, is_contrastive
from themo.training.nesting import Nesting, nest
from themo.training.optimization import RunningMeans, Updater, build_optimizer
from themo.training.pace import Pace
from themo.training.preconditions import count_steps, refuse_unfit
from themo.training.schedules import learn_rate_at
from themo.training.validation import Validation, refuse_not_finite

STEPS_BETWEEN_CHECKS = 50
"""Steps between loss checks on a GPU, which each check synchronises; on a CPU every step is checked."""


@dataclass(frozen=True)
class Report:
    """A report of `train`, at the times of `themo.training.report_times` and at the end.

    Attributes:
        metrics: ``pairs_seen``, ``step``, ``epoch``, ``seconds``, ``training_seconds`` (of the steps alone,
            without validation, saving and waiting), ``pairs_per_second``, ``learn_rate``,
            ``train/loss`` and ``train/<term>`` (means since the last report), ``val/loss``, ``val/cosine``,
            ``val/match@01``, ``val/retrieval@01`` where there are validation images, the last two of each
            nested width as ``val/width32/match@01``, and ``best/...``: the validation metrics of the best
            report so far.
        is_best: No earlier report had a better objective.
        is_last: Training ends with it.
        save: Writes the current state of the run as a version directory, into a new folder or the run's own.
            Call it before the report returns: training changes the weights.
    """

    metrics: Metrics
    is_best: bool
    is_last: bool
    save: Callable[[Path], None]


def train(
    settings: Settings,
    data: TrainingData,
    *,
    report: Callable[[Report], None],
    resume: Path | None = None,
    on_step: Callable[[int, float], None] = lambda _pairs, _loss: None,
    on_begin: Callable[[Mapping[str, Any]], None] = lambda _facts: None,
) -> Report:
    """Train a student.

    On a CPU, settings and data determine the result bit by bit, also if the run is interrupted at a report
    and resumed.

    Under torch.distributed all ranks train one student together (`themo.training.distributed`), and only rank
    0 reports.

    `training.threads` remains the process's number of threads afterwards; 0 leaves the number unchanged.

    Args:
        settings: Settings of the run; `training.seed` determines every random choice.
        data: Token ids and teacher vectors.
        report: Called in this thread at every report.
        resume: Version directory of an unfinished run with the same settings.
        on_step: Called after every step with its number of pairs and its loss (on a GPU the last one
            checked), for a progress bar.
        on_begin: Called before the first step with the facts of the run, as ``summary.json`` holds them.

    Returns:
        The last report.

    Raises:
        FloatingPointError: The loss or a validation metric is not finite.
        InputError: The student cannot be built from the settings, a batch is larger than the corpus, or
            `resume` is damaged, finished, or was begun with other pairs or teacher vectors.
    """
    refuse_unfit(settings, data, resume)
    torch.set_num_threads(settings.training.threads or torch.get_num_threads())
    torch.manual_seed(settings.training.seed)
    setup = _build(settings, data, resume)
    on_begin(setup.run.facts)
    return _fit(setup, data, report, on_step)


@dataclass(frozen=True)
class _Setup:
    """Parts of a run that the loop uses.

    Attributes:
        run: State of the run.
        update: Updates the student with a batch.
        validate: Returns the student's validation metrics.
        device: Device of the student.
        group: The processes that train the student together.
    """

    run: _Run
    update: Updater
    validate: Callable[[], Metrics]
    device: torch.device
    group: Group


def _build(settings: Settings, data: TrainingData, resume: Path | None) -> _Setup:
    """Build the parts of a new run, or of one to resume with its weights, moments and random state.

    Raises:
        InputError: As in `train`.
    """
    config, group = settings.training, Group.current()
    device = resolve_device(config.device)
    dtype = resolve_precision(config.precision, device)
    student = build_student(settings, data).to(device).train()
    optimizer = build_optimizer(student, config.optimizer, config.weight_decay)
    loss_of = build_loss(settings.loss.loss, settings.loss.temperature)
    nesting = group.from_first(lambda: Nesting.of(settings.loss, data, resume))
    if nesting is not None:
        nesting = nesting.to(device)
        loss_of = nest(loss_of, nesting)
    update = Updater(
        student,
        optimizer,
        loss_of,
        dtype,
        contrastive=is_contrastive(settings.loss.loss),
        clip_norm=config.clip_norm,
        parts=config.accumulate,
        compiled=config.compile,
        group=group,
    )
    validation = Validation(data, settings.student.max_length, device, nesting)
    progress = Progress(corpus=data.corpus, targets=data.targets)
    best_weights: dict[str, Tensor] = {}
    if resume is not None:
        progress, best_weights = restore(resume, student, optimizer)
    environment = describe(device, dtype) | ({"processes": group.size} if group.size > 1 else {})
    run = _Run(
        settings,
        student,
        optimizer,
        Tokenizer.load(data.backbone_files),
        axes=None if nesting is None else nesting.axes.cpu(),
        facts=_facts(settings, data, student) | {"environment": environment},
        progress=progress,
        best_weights=best_weights,
    )
    return _Setup(run, update, lambda: validation(student, loss_of, dtype), device, group)


def _fit(
    setup: _Setup,
    data: TrainingData,
    report: Callable[[Report], None],
    on_step: Callable[[int, float], None],
) -> Report:
    """Train from the run's progress to its end; return the last report."""
    run, device, group = setup.run, setup.device, setup.group
    settings, progress = run.settings, run.progress
    config, max_length = settings.training, settings.student.max_length
    steps_an_epoch, total_steps = count_steps(settings, data)
    total_pairs = data.pairs_an_epoch * total_steps / steps_an_epoch
    rate_at = partial(
        learn_rate_at,
        peak=config.learn_rate,
        schedule=config.schedule,
        warmup_steps=config.warmup_steps,
        total_steps=total_steps,
    )
    means, pace = RunningMeans(), Pace(progress)
    begun = time.monotonic() - progress.seconds
    lengths = token_counts(data.train, max_length)
    span = (progress.step, total_steps)
    for chosen in plan_steps(lengths, config.batch_size, config.seed, *span, parts=data.parts):
        rate = rate_at(progress.step)
        batch = assemble(data.train, group.share(chosen), max_length).to(device)
        group.seed(config.seed, progress.step)
        means.add(setup.update(batch, rate, len(chosen)), len(chosen), rate)
        progress.step += 1
        progress.pairs_seen += len(chosen)
        if device.type == "cpu" or math.isnan(means.last) or progress.step % STEPS_BETWEEN_CHECKS == 0:
            means.check(progress.step)
        on_step(len(chosen), means.last)
        seen = progress.pairs_seen
        is_due = report_times.is_due(seen - len(chosen), seen, total_pairs, config.report_pairs)
        if not is_due and progress.step < total_steps:
            continue

        means.check(progress.step)
        speed = pace.measure(progress.pairs_seen)
        measured = group.from_first(setup.validate)
        refuse_not_finite(measured, progress.step, rate)
        progress.seconds = time.monotonic() - begun
        metrics: Metrics = {
            "pairs_seen": progress.pairs_seen,
            "step": progress.step,
            "epoch": progress.step / steps_an_epoch,
            "seconds": progress.seconds,
            "training_seconds": round(pace.seconds, 3),
            "pairs_per_second": speed,
            "learn_rate": rate,
            **{f"train/{name}": value for name, value in means.take().items()},
        }
        last = run.enter(metrics, measured, keeps_weights=group.is_first)
        if group.is_first:
            report(last)
        if last.is_last:
            break
        pace.restart(progress.pairs_seen)
    return last


def _facts(settings: Settings, data: TrainingData, student: Student) -> dict[str, Any]:
    """Return the entries of the summary about the run as a whole, without its environment."""
    _, total_steps = count_steps(settings, data)
    return {
        "objective": settings.objective,
        "total_steps": total_steps,
        "train_pairs": len(data.train),
        "validation_pairs": len(data.validation),
        "backbone_repository": data.backbone_repository,
        "parameters": sum(p.numel() for p in student.parameters()),
    }


@dataclass
class _Run:
    """State of a run: its reports, and the parts that a version directory keeps.

    Attributes:
        axes: Principal axes of the targets, (E, E) on the CPU; None without nested widths.
        facts: Entries of the summary about the run as a whole.
        best_weights: Weights of the student at the best report, on the CPU; empty before the first report.
    """

    settings: Settings
    student: Student
    optimizer: Adam
    tokenizer: Tokenizer
    axes: Tensor | None
    facts: dict[str, Any]
    progress: Progress
    best_weights: dict[str, Tensor]

    def enter(self, metrics: Metrics, measured: Metrics, *, keeps_weights: bool) -> Report:
        """Return the report of a validation; keep the metrics and weights of the best one."""
        progress = self.progress
        is_best = is_better(measured, progress.best, self.settings.objective)
        if is_best:
            progress.best, progress.stale = measured, 0
            if keeps_weights:
                weights = self.student.state_dict()
                self.best_weights = {name: t.detach().cpu().clone() for name, t in weights.items()}
        else:
            progress.stale += 1
        metrics |= measured | {f"best/{name}": value for name, value in progress.best.items()}
        progress.reports.append(metrics)
        return Report(metrics, is_best, self.state != "running", partial(self._save, is_best=is_best))

    @property
    def state(self) -> str:
        """``finished``, ``stopped early`` or ``running``."""
        if self.progress.step >= self.facts["total_steps"]:
            return "finished"
        patience = self.settings.training.patience
        return "stopped early" if patience is not None and self.progress.stale >= patience else "running"

    def _save(self, folder: Path, *, is_best: bool) -> None:
        def write_student(part: Path) -> None:
            save_student(
                part, self.best_weights, self.student.head, self.student.backbone.config, self.tokenizer
            )
            if self.axes is not None:
                write_axes(part, self.axes)

        progress = self.progress
        write_version(
            folder,
            settings=self.settings,
            reports=progress.reports,
            summary={"best": progress.best, "last": progress.reports[-1], **self.facts, "state": self.state},
            save_student=write_student if is_best or not (folder / "student").is_dir() else None,
            checkpoint=take_checkpoint(self.student, self.optimizer, progress),
        )


def build_student(settings: Settings, data: TrainingData) -> Student:
    """The student that settings describe, with weights from torch's current random state."""
    config = settings.student
    head = Head(
        data.dimension, config.pooling, config.last_layer_norm, config.projection_bias, config.max_length
    )
    return Student.build(
        data.backbone if config.backbone_weights else data.backbone_files,
        head,
        weights=config.backbone_weights,
        projection_init=config.projection_init,
        hidden_size=config.hidden_size,
        hidden_layers=config.hidden_layers,
        dropout=config.dropout,
    )


def is_better(metrics: Metrics, best: Metrics, objective: Objective) -> bool:
    """Whether a report beats the best so far; between equal objectives the greater cosine decides."""

    def score(values: Metrics) -> tuple[float, float]:
        value = values[objective]
        return (value if HIGHER_IS_BETTER[objective] else -value, values["val/cosine"])

    return not best or score(metrics) > score(best)
