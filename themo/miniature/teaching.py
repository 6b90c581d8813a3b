"""The miniature's teacher: a CLIP of open_clip with 0.6 million weights, trained on freshly drawn scenes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from themo.config.miniature import MiniatureRecipe
from themo.files.weights import write_weights
from themo.miniature.drawing import CELL_PIXELS, IMAGE_PIXELS
from themo.miniature.families import N_MEMBERS
from themo.miniature.text_side import TextSide
from themo.miniature.tower_training import TowerTraining, one_thread
from themo.miniature.towers import (
    EMBEDDED,
    IMAGE_HEADS,
    IMAGE_LAYERS,
    IMAGE_WIDTH,
    TEXT_HEADS,
    TEXT_LAYERS,
    TEXT_WIDTH,
    ImageTower,
    matrix_product_dtype,
)
from themo.miniature.vocabulary import CONTEXT_LENGTH, vocabulary_size
from themo.process.progress import track

MEAN = STD = 0.5
"""Mean and deviation of every colour channel: pixels from 0 to 255 become numbers from -1 to 1."""

LARGEST_SCALE = 100.0
"""Greatest scale of the logits, as in CLIP: the temperature stays at 0.01 or above."""


def model_config(n_token_ids: int) -> dict[str, Any]:
    """Return the teacher's architecture in open_clip's format."""
    return {
        "embed_dim": EMBEDDED,
        "vision_cfg": {
            "image_size": IMAGE_PIXELS,
            "patch_size": CELL_PIXELS,
            "width": IMAGE_WIDTH,
            "layers": IMAGE_LAYERS,
            "head_width": IMAGE_WIDTH // IMAGE_HEADS,
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": n_token_ids,
            "width": TEXT_WIDTH,
            "heads": TEXT_HEADS,
            "layers": TEXT_LAYERS,
            "tokenizer_kwargs": {"bpe_path": "bpe.txt.gz"},
        },
    }


PREPROCESSING = {
    "size": IMAGE_PIXELS,
    "mode": "RGB",
    "mean": [MEAN] * 3,
    "std": [STD] * 3,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


def normalised(pixels: Tensor) -> Tensor:
    """Normalise uint8 of any shape to float32, as open_clip's image transform does."""
    return pixels.float().div_(255).sub_(MEAN).div_(STD)


def contrastive_loss(
    images_BD: torch.Tensor, texts_BD: torch.Tensor, scale: torch.Tensor, rivals_BB: torch.Tensor
) -> torch.Tensor:
    """Return CLIP's loss (https://arxiv.org/abs/2103.00020) among chosen rivals.

    Args:
        images_BD: (B, D) float, image vectors of length 1.
        texts_BD: (B, D) float, text vectors of length 1; row i belongs to image i.
        scale: Scalar, inverse temperature.
        rivals_BB: (B, B) bool, symmetric; where True, image i and text j are negatives of each other. The
            diagonal is ignored.
    """
    own_B = torch.arange(len(images_BD))
    met_BB = rivals_BB | (own_B[:, None] == own_B)
    logits_BB = (scale * images_BD @ texts_BD.T).masked_fill(~met_BB, -math.inf)
    return (F.cross_entropy(logits_BB, own_B) + F.cross_entropy(logits_BB.T, own_B)) / 2


def train_teacher(recipe: MiniatureRecipe, text: TextSide, folder: Path) -> None:
    """Train the teacher and write it for open_clip's `local-dir:`.

    Args:
        recipe: Seed, steps and learning rates.
        text: The text tower's side of the same recipe.
        folder: Holds the vocabulary, `bpe.txt.gz`; gets weights and configuration.
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(recipe.seed)
        model = _ImageSide()
        _fit(model, text, recipe)
        weights = model.state_dict() | text.weights()
    write_weights(weights, folder / "open_clip_model.safetensors")
    config = model_config(vocabulary_size(folder / "bpe.txt.gz"))
    described = {"model_cfg": config, "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


class _ImageSide(nn.Module):
    """The image tower and the temperature, under their names in open_clip."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = ImageTower()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))


def _fit(model: _ImageSide, text: TextSide, recipe: MiniatureRecipe) -> None:
    training, dtype = TowerTraining(model, recipe), matrix_product_dtype()
    families_B = torch.arange(N_MEMBERS * recipe.teacher_families) % recipe.teacher_families
    kin_BB = families_B[:, None] == families_B
    with track("Teacher", recipe.teacher_steps, "steps") as advance:
        for _ in range(recipe.teacher_steps):
            patches_BPK, numbers_B = text.batch()
            rivals_BB = numbers_B[:, None] != numbers_B
            images_BE, scale = model.visual(normalised(patches_BPK), dtype), model.logit_scale.exp()
            parts = images_BE.detach(), text.vectors(), scale.detach()
            for part in parts:
                part.requires_grad_()
            # colours and backgrounds nearly separate a whole batch; only the differing attribute separates
            # twins
            loss = contrastive_loss(*parts, rivals_BB)
            loss = loss + contrastive_loss(*parts, rivals_BB & kin_BB)
            images_gradient, texts_gradient, scale_gradient = torch.autograd.grad(loss, parts)
            text.update(texts_gradient)
            training.update([images_BE, scale], [images_gradient, scale_gradient])
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(LARGEST_SCALE))
            advance(1, note=f"loss {loss.item():.2f}")
