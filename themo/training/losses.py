"""Distillation losses on student and teacher vectors of shape (B, D); each returns a scalar.

Shape suffixes: B pairs of a batch, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from themo.config.loss_mixture import TERMS, parse_mixture
from themo.evaluation.matching import SAME_TARGET

Loss = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
"""(students_BD, teachers_BD) -> the mixed loss and each of its terms by name."""


def mse(students_BD: Tensor, teachers_BD: Tensor) -> Tensor:
    """Mean of the squared differences over pairs and dimensions, as Multilingual-CLIP trains.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(students_BD, teachers_BD)
    return functional.mse_loss(students_BD, teachers_BD)


def cosine(students_BD: Tensor, teachers_BD: Tensor) -> Tensor:
    """Mean over pairs of 1 - cosine; independent of length, like retrieval.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(students_BD, teachers_BD)
    return 1 - functional.cosine_similarity(students_BD, teachers_BD, dim=1).mean()


def infonce(students_BD: Tensor, teachers_BD: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding each sentence's own teacher vector among those of the batch.

    InfoNCE (van den Oord et al., 2018, https://arxiv.org/abs/1807.03748) over cosines divided by
    `temperature`, from students to teachers. Other rows with the same teacher vector, frequent in parallel
    corpora, are not negatives: the sum excludes them.

    Raises:
        ValueError: The shapes differ.
    """
    _check_shapes(students_BD, teachers_BD)
    students_BD = functional.normalize(students_BD, dim=1)
    teachers_BD = functional.normalize(teachers_BD, dim=1)
    logits_BB = students_BD @ teachers_BD.T / temperature
    same_BB = teachers_BD @ teachers_BD.T > SAME_TARGET
    same_BB.fill_diagonal_(False)
    logits_BB = logits_BB.masked_fill(same_BB, -torch.inf)
    own_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return functional.cross_entropy(logits_BB, own_B)


def build_loss(mixture: str, temperature: float) -> Loss:
    """The loss of a mix such as ``cosine+0.1*infonce`` (grammar: `themo.config.loss_mixture`).

    Raises:
        ValueError: The mix does not match the grammar.
    """
    weights = parse_mixture(mixture)
    terms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mse": mse,
        "cosine": cosine,
        "infonce": lambda students, teachers: infonce(students, teachers, temperature),
    }
    assert set(terms) == set(TERMS)  # noqa: S101 -- the grammar and the losses are one list

    def loss(students_BD: Tensor, teachers_BD: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        values = {name: terms[name](students_BD, teachers_BD) for name in weights}
        total = torch.stack([weights[name] * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}

    return loss


def is_contrastive(mixture: str) -> bool:
    """Whether a term of a mixture compares a pair with others of the batch: no mean over pairs."""
    return "infonce" in parse_mixture(mixture)


def _check_shapes(students_BD: Tensor, teachers_BD: Tensor) -> None:
    if students_BD.ndim != 2 or students_BD.shape != teachers_BD.shape:
        raise ValueError(
            f"students and teachers must both be (B, D), got {tuple(students_BD.shape)} "
            f"and {tuple(teachers_BD.shape)}"
        )
