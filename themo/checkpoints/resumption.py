"""What a resume needs of a run: taken at a report, put back at a start."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from themo.checkpoints.versions import Checkpoint, Metrics, find_part
from themo.errors import InputError, reason_of
from themo.models.student import read_weights


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: Updates made.
        pairs_seen: Sentence pairs in them.
        seconds: Of training and validation, over all its parts.
        stale: Reports since the best one.
        best: Validation metrics of the best report.
        reports: All that was reported.
        corpus: Key of the pairs that the run is trained on; None: nothing tells.
    """

    step: int = 0
    pairs_seen: int = 0
    seconds: float = 0.0
    stale: int = 0
    best: Metrics = field(default_factory=dict)
    reports: list[Metrics] = field(default_factory=list)
    corpus: str | None = None


def take_checkpoint(student: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> Checkpoint:
    """A run as it stands, copied to the CPU."""
    tensors = {f"student.{name}": t.detach().cpu().contiguous() for name, t in student.state_dict().items()}
    for i, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": t.detach().cpu().contiguous() for name, t in moments.items()}
    tensors["random"] = torch.get_rng_state()
    if torch.cuda.is_initialized():
        tensors["random_cuda"] = torch.cuda.get_rng_state()
    return Checkpoint(tensors, asdict(progress))


def restore(
    version: Path, student: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]]:
    """Put student, optimiser and torch's random state back to the checkpoint of a version directory.

    Returns:
        How far the run was, and the weights of its best student.

    Raises:
        InputError: There is no whole checkpoint, or one of other settings.
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
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        torch.set_rng_state(checkpoint.tensors["random"])
        if torch.cuda.is_initialized() and "random_cuda" in checkpoint.tensors:
            torch.cuda.set_rng_state(checkpoint.tensors["random_cuda"])
        progress = Progress(**checkpoint.progress)
        best_weights = read_weights(find_part(version, "student"))
    except (KeyError, ValueError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        raise InputError(f"{version}: its checkpoint is not of these settings: {reason_of(error)}") from error
    return progress, best_weights
