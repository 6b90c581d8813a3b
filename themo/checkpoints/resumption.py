"""Checkpoints of a run: taken at a report, restored at a resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from themo.checkpoints.versions import Checkpoint, Metrics, find_part
from themo.errors import InputError, reason_of
from themo.models.student import read_weights


class Moments(Protocol):
    """Optimiser with a state to save, such as `themo.training.adam.Adam`.

    Attributes:
        state: Tensors of each parameter by name, by the parameter's number.
    """

    state: dict[int, dict[str, Tensor]]

    def load(self, state: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Load a state."""


@dataclass
class Progress:
    """Progress of a run.

    Attributes:
        step: Updates made.
        pairs_seen: Sentence pairs in them.
        seconds: Time spent in training and validation, over all sessions of the run.
        stale: Reports since the best one.
        best: Validation metrics of the best report.
        reports: All reports so far.
        corpus: Key of the training pairs; None: unknown.
        targets: Key of the teacher vectors; None: unknown.
    """

    step: int = 0
    pairs_seen: int = 0
    seconds: float = 0.0
    stale: int = 0
    best: Metrics = field(default_factory=dict)
    reports: list[Metrics] = field(default_factory=list)
    corpus: str | None = None
    targets: str | None = None


def take_checkpoint(student: nn.Module, optimizer: Moments, progress: Progress) -> Checkpoint:
    """Return a checkpoint of the run's current state, copied to the CPU."""
    tensors = {f"student.{name}": t.detach().cpu().contiguous() for name, t in student.state_dict().items()}
    for i, moments in optimizer.state.items():
        tensors |= {f"optimizer.{i}.{name}": t.detach().cpu().contiguous() for name, t in moments.items()}
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_initialized():
        tensors["random_cuda"] = torch.cuda.get_rng_state()
    return Checkpoint(tensors, asdict(progress))


def restore(version: Path, student: nn.Module, optimizer: Moments) -> tuple[Progress, dict[str, Tensor]]:
    """Restore student, optimiser and torch's random state from the checkpoint of a version directory.

    Returns:
        The run's progress and the weights of its best student.

    Raises:
        InputError: The checkpoint is missing or incomplete, or belongs to other settings.
    """
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
        optimizer.load(moments)
        torch.set_rng_state(checkpoint.tensors["random"])
        if torch.cuda.is_initialized() and "random_cuda" in checkpoint.tensors:
            torch.cuda.set_rng_state(checkpoint.tensors["random_cuda"])
        progress = Progress(**checkpoint.progress)
        best_weights = read_weights(find_part(version, "student"))
    except (KeyError, ValueError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        raise InputError(
            f"{version}: the checkpoint does not match the settings: {reason_of(error)}"
        ) from error
    return progress, best_weights
