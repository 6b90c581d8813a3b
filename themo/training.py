"""The reusable training function: settings and data in, reports out.

It knows neither Ray nor MLflow nor the command line. Whoever calls it passes `report`, which may save, log or
raise to stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from themo.backbones import adapted_config, refuse_length
from themo.batches import assemble, plan_epoch, token_counts
from themo.config import HIGHER_IS_BETTER, Objective, Settings
from themo.dataset import TrainingData
from themo.devices import resolve_device, resolve_precision
from themo.environment import describe
from themo.errors import InputError, reason_of
from themo.losses import build_loss, is_contrastive
from themo.optimization import RunningMeans, Updater, build_optimizer
from themo.parallel import Group
from themo.schedules import learn_rate_at
from themo.student import Head, Student, read_weights, save_student
from themo.tokens import Tokenizer
from themo.validation import Validation
from themo.versions import Checkpoint, Metrics, find_part, read_progress, write_version

STEPS_BETWEEN_CHECKS = 50
"""On a GPU, where looking at a loss waits for it, it is looked at this often; on a CPU at every step."""


@dataclass(frozen=True)
class Report:
    """What `train` tells after every `report_pairs` sentence pairs and at the end.

    Attributes:
        metrics: ``pairs_seen``, ``step``, ``epoch``, ``seconds``, ``pairs_per_second``, ``learn_rate``,
            ``train/loss`` and ``train/<term>`` (means since the last report), ``val/loss``, ``val/cosine``,
            ``val/match@01``, ``val/retrieval@01`` where there are validation images, and ``best/...``: the
            validation metrics of the best report so far.
        is_best: No earlier report had a better objective.
        is_last: Training ends with it.
        save: Writes the run as it stands into a folder, new or its own, as a version directory. To be called
            before the report returns: the weights move on.
    """

    metrics: Metrics
    is_best: bool
    is_last: bool
    save: Callable[[Path], None]


@dataclass
class Progress:
    """How far a run is; with the checkpoint's tensors, all that a resume needs."""

    step: int = 0
    pairs_seen: int = 0
    seconds: float = 0.0
    stale: int = 0
    best: Metrics = field(default_factory=dict)
    reports: list[Metrics] = field(default_factory=list)


def train(
    settings: Settings,
    data: TrainingData,
    *,
    report: Callable[[Report], None],
    resume: Path | None = None,
    on_step: Callable[[int, float], None] = lambda _pairs, _loss: None,
) -> Report:
    """Train a student.

    On a CPU the result is a function of settings and data to the last bit, also when the run is cut at any
    report and resumed.

    Where torch.distributed connects this process with others that call this too, they train one student
    together (`themo.parallel`), and only the first of them reports.

    `training.threads` stays set for the process when it returns; with 0 it keeps what the process has.

    Args:
        settings: All of them; `training.seed` determines every random choice.
        data: Token ids and teacher vectors.
        report: Called in this thread at every report.
        resume: Version directory of an unfinished run with the same settings.
        on_step: Called after every step with its number of pairs and its loss (on a GPU the last one looked
            at), for a progress bar.

    Returns:
        The last report.

    Raises:
        FloatingPointError: The loss, or what validation measures, is no longer finite.
        InputError: The student cannot be built from the settings, a batch is larger than the corpus, or
            `resume` is damaged or finished.
    """
    refuse_unfit(settings, data, resume)
    config = settings.training
    group = Group.current()
    torch.set_num_threads(config.threads or torch.get_num_threads())
    device = resolve_device(config.device)
    dtype = resolve_precision(config.precision, device)
    torch.manual_seed(config.seed)
    tokenizer = Tokenizer.load(data.backbone)
    student = build_student(settings, data).to(device).train()
    optimizer = build_optimizer(student, config)
    loss_of = build_loss(settings.loss.loss, settings.loss.temperature)
    contrastive = is_contrastive(settings.loss.loss)
    update = Updater(student, optimizer, loss_of, config, dtype, contrastive=contrastive, group=group)
    validate = Validation(data, settings.student.max_length, device)

    lengths = token_counts(data.train, settings.student.max_length)
    steps_an_epoch, total_steps = _steps(settings, data)
    progress = Progress()
    best_weights: dict[str, Tensor] = {}
    if resume is not None:
        progress, best_weights = _restore(resume, student, optimizer)

    facts = {
        "objective": settings.objective,
        "total_steps": total_steps,
        "train_pairs": len(data.train),
        "validation_pairs": len(data.validation),
        "backbone_repository": data.backbone_repository,
        "parameters": sum(p.numel() for p in student.parameters()),
        "environment": describe(device, dtype) | ({"processes": group.size} if group.size > 1 else {}),
    }
    means = RunningMeans()
    plan_of = partial(plan_epoch, lengths, config.batch_size, config.seed, parts=data.parts)
    plan, planned = plan_of(0), 0
    clock = time.monotonic() - progress.seconds
    last_report = (progress.pairs_seen, time.monotonic())
    while True:
        epoch, position = divmod(progress.step, steps_an_epoch)
        if epoch != planned:
            plan, planned = plan_of(epoch), epoch
        rate = learn_rate_at(
            progress.step,
            peak=config.learn_rate,
            schedule=config.schedule,
            warmup_steps=config.warmup_steps,
            total_steps=total_steps,
        )
        chosen, n_pairs = plan[position], len(plan[position])
        batch = assemble(data.train, group.share(chosen), settings.student.max_length).to(device)
        group.seed(config.seed, progress.step)
        means.add(update(batch, rate, n_pairs), n_pairs)
        progress.step += 1
        progress.pairs_seen += n_pairs
        if device.type == "cpu" or progress.step % STEPS_BETWEEN_CHECKS == 0:
            means.check(progress.step, rate)
        on_step(n_pairs, means.last)

        is_last = progress.step >= total_steps
        passed = progress.pairs_seen // config.report_pairs
        if passed == (progress.pairs_seen - n_pairs) // config.report_pairs and not is_last:
            continue
        means.check(progress.step, rate)
        pairs_before, since = last_report
        speed = (progress.pairs_seen - pairs_before) / (time.monotonic() - since)
        measured = group.from_first(lambda: validate(student, loss_of, dtype))
        if not all(map(math.isfinite, measured.values())):  # the last update broke the student
            raise FloatingPointError(
                f"val/loss is {measured['val/loss']} at step {progress.step} (learn_rate={rate:.1e})"
            )
        progress.seconds = time.monotonic() - clock
        metrics: Metrics = {
            "pairs_seen": progress.pairs_seen,
            "step": progress.step,
            "epoch": progress.step / steps_an_epoch,
            "seconds": progress.seconds,
            "pairs_per_second": speed,
            "learn_rate": rate,
            **{f"train/{name}": value for name, value in means.take().items()},
            **measured,
        }
        is_best = is_better(measured, progress.best, settings.objective)
        if is_best:
            progress.best, progress.stale = measured, 0
            if group.is_first:
                best_weights = {name: t.detach().cpu().clone() for name, t in student.state_dict().items()}
        else:
            progress.stale += 1
        metrics |= {f"best/{name}": value for name, value in progress.best.items()}
        progress.reports.append(metrics)
        is_last = is_last or _is_stale(progress, config.patience)

        save = partial(
            _save,
            settings=settings,
            student=student,
            best_weights=best_weights,
            is_new=is_best,
            tokenizer=tokenizer,
            optimizer=optimizer,
            progress=progress,
            facts=facts | {"state": _state(progress, total_steps, is_last)},
        )
        last = Report(metrics, is_best, is_last, save)
        if group.is_first:
            report(last)
        if is_last:
            return last
        last_report = (progress.pairs_seen, time.monotonic())


def refuse_unfit(settings: Settings, data: TrainingData, resume: Path | None = None) -> None:
    """Refuse what `train` cannot do, from settings and sizes alone: before anything is booked for it.

    Args:
        settings: As of `train`.
        data: As of `train`.
        resume: As of `train`.

    Raises:
        InputError: The backbone does not take the student's settings, a batch is larger than the corpus, or
            `resume` is finished.
    """
    student, training = settings.student, settings.training
    config = adapted_config(
        data.backbone,
        hidden_size=student.hidden_size,
        hidden_layers=student.hidden_layers,
        dropout=student.dropout,
    )
    refuse_length(data.backbone, config, student.max_length)
    n_pairs = min(len(data.train), data.pairs_an_epoch)
    if training.batch_size > n_pairs:
        raise InputError(
            f"training.batch_size must be at most the {n_pairs:,} training pairs, got {training.batch_size:,}"
        )
    if resume is None:
        return
    progress = read_progress(resume)
    step, stale, total_steps = progress.get("step", 0), progress.get("stale", 0), _steps(settings, data)[1]
    if step >= total_steps:
        raise InputError(f"{resume}: is finished, {step} of {total_steps} steps are done")
    if training.patience is not None and stale >= training.patience:
        raise InputError(f"{resume}: is finished, it stopped early at step {step}")


def _steps(settings: Settings, data: TrainingData) -> tuple[int, int]:
    """Steps of an epoch, and of all epochs."""
    config = settings.training
    steps_an_epoch = math.ceil(data.pairs_an_epoch / config.batch_size)
    return steps_an_epoch, max(1, round(config.epochs * steps_an_epoch))


def build_student(settings: Settings, data: TrainingData) -> Student:
    """The student that settings describe, with weights from torch's current random state."""
    config = settings.student
    head = Head(
        data.dimension, config.pooling, config.last_layer_norm, config.projection_bias, config.max_length
    )
    return Student.build(
        data.backbone,
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


def _is_stale(progress: Progress, patience: int | None) -> bool:
    return patience is not None and progress.stale >= patience


def _save(
    folder: Path,
    *,
    settings: Settings,
    student: Student,
    best_weights: dict[str, Tensor],
    is_new: bool,
    tokenizer: Tokenizer,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    facts: dict[str, Any],
) -> None:
    def write_student(part: Path) -> None:
        save_student(part, best_weights, student.head, student.backbone.config, tokenizer)

    write_version(
        folder,
        settings=settings,
        reports=progress.reports,
        summary={"best": progress.best, "last": progress.reports[-1], **facts},
        save_student=write_student if is_new or not (folder / "student").is_dir() else None,
        checkpoint=_checkpoint(student, optimizer, progress),
    )


def _state(progress: Progress, total_steps: int, is_last: bool) -> str:
    if not is_last:
        return "running"
    return "finished" if progress.step >= total_steps else "stopped early"


def _checkpoint(student: Student, optimizer: torch.optim.Optimizer, progress: Progress) -> Checkpoint:
    tensors = {f"student.{name}": t.detach().cpu().contiguous() for name, t in student.state_dict().items()}
    for i, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": t.detach().cpu().contiguous() for name, t in moments.items()}
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_initialized():
        tensors["random_cuda"] = torch.cuda.get_rng_state()
    return Checkpoint(tensors, asdict(progress))


def _restore(
    version: Path, student: Student, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]]:
    checkpoint = Checkpoint.load(version)
    moments: dict[int, dict[str, Tensor]] = {}
    weights = {}
    try:
        for name, tensor in checkpoint.tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "student":
                weights[rest] = tensor
            elif kind == "optimizer":
                i, _, moment = rest.partition(".")
                moments.setdefault(int(i), {})[moment] = tensor
        student.load_state_dict(weights)
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        torch.set_rng_state(checkpoint.tensors["random"])
        if torch.cuda.is_initialized() and "random_cuda" in checkpoint.tensors:
            torch.cuda.set_rng_state(checkpoint.tensors["random_cuda"])
        progress = Progress(**checkpoint.progress)
        best_weights = read_weights(find_part(version, "student"))
    except (KeyError, ValueError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        raise InputError(f"{version}: its checkpoint is not of these settings: {reason_of(error)}") from error
    return progress, best_weights
