"""The Spanish encoder: backbone, pooling, projection; save and load.

Shape suffixes: B sentences, L tokens, H width of the backbone, D dimensions of the teacher's vectors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from themo.errors import InputError, reason_of
from themo.files.weights import write_weights
from themo.models.backbones import build_model, load_config, refuse_length
from themo.models.bert import BertEncoder, LayerWeights
from themo.models.bert_files import CONFIG, write_config
from themo.models.by_length import batches_by_length
from themo.models.tokens import Tokenizer, cut
from themo.process.devices import multiplies_bfloat16

ENCODE_BATCH = 128


@dataclass(frozen=True)
class Head:
    """Settings of the pooling and projection of token states.

    Attributes:
        dimension: D, length of a teacher vector.
        pooling: Mean of the real tokens' states, or the first token's.
        last_layer_norm: Whether a layer norm precedes the projection.
        projection_bias: Whether the projection has a bias.
        max_length: Greatest length of a sentence, in tokens with the special ones.
    """

    dimension: int
    pooling: Literal["mean", "first"]
    last_layer_norm: bool
    projection_bias: bool
    max_length: int


class Student(nn.Module):
    """The student: maps token ids to vectors in the teacher's space.

    Args:
        backbone: `BertEncoder`, or one of transformers whose output has ``last_hidden_state`` (B, L, H).
        head: Pooling and projection.
    """

    def __init__(self, backbone: nn.Module, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        width: int = backbone.config.hidden_size  # type: ignore[assignment, union-attr]
        self.layer_norm = nn.LayerNorm(width) if head.last_layer_norm else nn.Identity()
        self.projection = nn.Linear(width, head.dimension, bias=head.projection_bias)

    @classmethod
    def build(
        cls,
        backbone: str,
        head: Head,
        *,
        weights: bool,
        projection_init: Literal["clip", "xavier"],
        hidden_size: int | None = None,
        hidden_layers: int | None = None,
        dropout: float | None = None,
    ) -> Student:
        """Build an untrained student; random weights come from torch's current random state.

        Args:
            backbone: Name or folder of the encoder.
            head: Pooling and projection.
            weights: Start from the backbone's pretrained weights.
            projection_init: ``"clip"``, normal with standard deviation H^-0.5 (Radford et al., 2021), or
                ``"xavier"``, uniform (Glorot and Bengio, 2010), as Multilingual-CLIP.
            hidden_size: Width in place of the backbone's; random weights only.
            hidden_layers: Layers in place of the backbone's; random weights only.
            dropout: Dropout in place of the backbone's.

        Raises:
            InputError: The backbone cannot be built, or reads fewer tokens than `head.max_length`.
        """
        model = build_model(
            backbone, weights=weights, hidden_size=hidden_size, hidden_layers=hidden_layers, dropout=dropout
        )
        refuse_length(backbone, model.config, head.max_length)
        student = cls(model, head)
        weight = student.projection.weight
        if projection_init == "clip":
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        else:
            nn.init.xavier_uniform_(weight)
        if student.projection.bias is not None:
            nn.init.zeros_(student.projection.bias)
        return student

    def forward(
        self,
        ids_BL: Tensor,
        mask_BL: Tensor | None = None,
        weights: Sequence[LayerWeights] | None = None,
    ) -> Tensor:
        """Return the vectors of a batch.

        Args:
            ids_BL: int64 token ids.
            mask_BL: bool, True for real tokens; None if all are real.
            weights: Result of `weights_for_encoding`; None: the backbone's own.

        Returns:
            (B, D) float32.
        """
        if isinstance(self.backbone, BertEncoder):
            states_BLH = self.backbone(ids_BL, mask_BL, weights)
        else:
            states_BLH = self.backbone(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        pooled_BH = pool(states_BLH, mask_BL, self.head.pooling)
        return self.projection(self.layer_norm(pooled_BH)).float()  # type: ignore[no-any-return]

    @torch.inference_mode()
    def weights_for_encoding(self) -> list[LayerWeights] | None:
        """Convert the backbone's weights to bfloat16 for `encode`, where that makes it faster.

        None on a GPU, on a CPU that does not multiply bfloat16 in hardware, and for a backbone that is not
        a variant of BERT.
        """
        on_cpu = self.projection.weight.device.type == "cpu"
        if not (on_cpu and multiplies_bfloat16() and isinstance(self.backbone, BertEncoder)):
            return None
        return self.backbone.weights(torch.bfloat16)

    @torch.inference_mode()
    def encode(
        self,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        batch_size: int = ENCODE_BATCH,
        advance: Callable[[float], None] = lambda _: None,
        weights: Sequence[LayerWeights] | None = None,
    ) -> Tensor:
        """Vectors of Spanish texts, (N, D) float32 on the CPU, in their order.

        Args:
            tokenizer: The student's.
            texts: N texts.
            batch_size: Texts at a time.
            advance: Called with the number of texts of each batch.
            weights: Result of `weights_for_encoding`, whose rounding to bfloat16 changes the vectors; None:
                the backbone's own.
        """
        device = self.projection.weight.device

        def forward(ids_BL: Tensor, mask_BL: Tensor | None) -> Tensor:
            mask_BL = None if mask_BL is None else mask_BL.to(device)
            vectors_BD: Tensor = self(ids_BL.to(device), mask_BL, weights)
            return vectors_BD.cpu()

        with evaluating(self):
            return encode_by_length(forward, self.head, tokenizer, texts, batch_size, advance)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode; restore its mode afterwards, also after an exception."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def encode_by_length(
    forward: Callable[[Tensor, Tensor | None], Tensor],
    head: Head,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    batch_size: int = ENCODE_BATCH,
    advance: Callable[[float], None] = lambda _: None,
) -> Tensor:
    """Encode texts in batches of like length: (N, D) float32 on the CPU, in their order.

    Args:
        forward: Returns the vectors (B, D) of ids (B, L) int64 and a mask (B, L) bool, None where no row is
            padded.
        head: The student's head.
        tokenizer: The student's.
        texts: N texts.
        batch_size: Texts at a time.
        advance: Called with the number of texts of each batch.
    """
    flat, counts = tokenizer.encode(texts)
    sentences = torch.from_numpy(flat.astype("int64")).split(counts.tolist())
    vectors = torch.empty(len(texts), head.dimension)
    for chosen in batches_by_length(counts.tolist(), batch_size, advance):
        rows = [cut(sentences[i].tolist(), head.max_length, tokenizer.suffix) for i in chosen]
        width = len(rows[-1])
        ids_BL = torch.tensor([row + [tokenizer.pad_id] * (width - len(row)) for row in rows])
        mask_BL = None
        if len(rows[0]) < width:
            mask_BL = torch.tensor([[j < len(row) for j in range(width)] for row in rows])
        vectors[chosen] = forward(ids_BL, mask_BL)
    return vectors


def pool(states_BLH: Tensor, mask_BL: Tensor | None, pooling: Literal["mean", "first"]) -> Tensor:
    """Pool each sentence's states: the mean where the mask is True, or the first state.

    Returns:
        (B, H).
    """
    if pooling == "first":
        return states_BLH[:, 0]
    if mask_BL is None:
        return states_BLH.mean(dim=1)
    weights_BL1 = (mask_BL / mask_BL.sum(dim=1, keepdim=True)).unsqueeze(2).to(states_BLH.dtype)
    return (states_BLH * weights_BL1).sum(dim=1)


def save_student(
    folder: Path, weights: dict[str, Tensor], head: Head, config: Any, tokenizer: Tokenizer
) -> None:
    """Write a student into a folder: an ordinary transformers folder of its backbone, and its head beside it.

    ``config.json``, ``model.safetensors`` and the tokenizer are the backbone's; ``head.safetensors`` and
    ``head.json`` hold the head's weights and settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prefix = "backbone."
    backbone = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
    head_weights = {name: t for name, t in weights.items() if not name.startswith(prefix)}
    write_weights(backbone, folder / "model.safetensors", {"format": "pt"})
    write_weights(head_weights, folder / "head.safetensors", {"format": "pt"})
    write_config(config, folder / CONFIG)
    (folder / "head.json").write_text(json.dumps(asdict(head), indent=1), encoding="utf-8")
    tokenizer.save(folder)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read the weights of a student's folder, by their names in `Student`."""
    backbone = load_file(folder / "model.safetensors")
    return {f"backbone.{name}": t for name, t in backbone.items()} | load_file(folder / "head.safetensors")


def load_head(folder: Path) -> Head:
    """Read the head's settings from a student's folder.

    Raises:
        InputError: The settings are missing or damaged.
    """
    try:
        return Head(**json.loads((folder / "head.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder}: is not a complete student: {reason_of(error)}") from error


def load_student(folder: Path) -> tuple[Student, Tokenizer]:
    """Load a student that `save_student` wrote, in eval mode on the CPU.

    Raises:
        InputError: A file is missing, damaged, or not of this student.
    """
    try:
        head = load_head(folder)
        load_config(str(folder))
        student = Student(build_model(str(folder), weights=False), head)
        student.load_state_dict(read_weights(folder))
        return student.eval(), Tokenizer.load(str(folder))
    except InputError:
        raise
    except Exception as error:  # safetensors, JSON and torch raise different errors
        reason = reason_of(error)
        raise InputError(f"{folder}: is not a complete student: {reason}") from error
