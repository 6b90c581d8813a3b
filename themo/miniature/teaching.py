"""The miniature's teacher: a CLIP of open_clip with 0.6 million weights, trained on scenes as they are drawn."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file

from themo.miniature.drawing import CELL_PIXELS, IMAGE_PIXELS, draw, place
from themo.miniature.grammar import Content, english_sentence
from themo.miniature.recipe import MiniatureRecipe
from themo.miniature.scenes import Scenes, World, joined
from themo.miniature.twins import Kind, scene_numbers, twins
from themo.miniature.vocabulary import CONTEXT_LENGTH, encoder, write_bpe
from themo.progress import track

MEAN = STD = 0.5
"""Of every colour channel: pixels from 0 to 255 become numbers from -1 to 1."""

FAMILY: tuple[Kind, ...] = ("shape", "shape", "shape")
"""The twins that stand in a batch beside every scene."""

SIZE_TOLD, BACKGROUND_TOLD = 0.75, 0.75
"""How often the captions of a family tell sizes and background."""


def model_config(vocabulary_size: int) -> dict[str, Any]:
    """Return the teacher's architecture as open_clip writes it."""
    return {
        "embed_dim": 64,
        "vision_cfg": {
            "image_size": IMAGE_PIXELS,
            "patch_size": CELL_PIXELS,
            "width": 96,
            "layers": 3,
            "head_width": 32,
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary_size,
            "width": 64,
            "heads": 2,
            "layers": 2,
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


def normalised(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Turn (N, 48, 48, 3) uint8 into (N, 3, 48, 48) float32, as open_clip's image transform does."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255).sub_(MEAN).div_(STD)


def family_batch(
    world: World, n_families: int, single_percent: int, rng: np.random.Generator
) -> tuple[Scenes, list[Content], NDArray[np.int64]]:
    """Draw scenes of the training split with their twins.

    Returns:
        N scenes, what their captions say, and (N,) int64 numbers that are equal where captions say the same.
    """
    base = world.draw_by_lot("train", n_families, single_percent, rng, distinct=False)
    scenes = joined([base, *(twins(base, kind, world, rng) for kind in FAMILY)])
    members = 1 + len(FAMILY)
    size_told = np.tile(rng.random(n_families) < SIZE_TOLD, members)
    background_told = np.tile(rng.random(n_families) < BACKGROUND_TOLD, members)
    contents = []
    for i in range(len(scenes)):
        content = scenes.content(i)
        if not size_told[i]:
            second = content.second and replace(content.second, size=None)
            content = replace(content, first=replace(content.first, size=None), second=second)
        if not background_told[i]:
            content = replace(content, background=None)
        contents.append(content)
    return scenes, contents, scene_numbers(scenes, size_told, background_told)


def contrastive_loss(
    images_BD: torch.Tensor, texts_BD: torch.Tensor, scale: torch.Tensor, numbers_B: torch.Tensor
) -> torch.Tensor:
    """CLIP's loss (https://arxiv.org/abs/2103.00020), blind to pairs whose captions say the same.

    Args:
        images_BD: (B, D) float, image vectors of length 1.
        texts_BD: (B, D) float, text vectors of length 1; row i belongs to image i.
        scale: Scalar, inverse temperature.
        numbers_B: (B,) int64; two rows with equal numbers are not set against each other.
    """
    logits_BB = scale * images_BD @ texts_BD.T
    same_BB = numbers_B[:, None] == numbers_B[None, :]
    same_BB.fill_diagonal_(False)
    logits_BB = logits_BB.masked_fill(same_BB, -math.inf)
    own_B = torch.arange(len(logits_BB))
    return (F.cross_entropy(logits_BB, own_B) + F.cross_entropy(logits_BB.T, own_B)) / 2


def encode_text(model: Any, tokens_TL: torch.Tensor) -> torch.Tensor:
    """Return what `model.encode_text` gives for texts padded to the context length, (T, D), length 1.

    A causal tower's state at the end of text does not depend on what follows, so the padding is left out.
    """
    length = tokens_TL.shape[1]
    x_TLW = model.token_embedding(tokens_TL) + model.positional_embedding[:length]
    x_TLW = model.transformer(x_TLW, attn_mask=model.attn_mask[:length, :length])
    end_TW = model.ln_final(x_TLW[torch.arange(len(tokens_TL)), tokens_TL.argmax(dim=-1)])
    return F.normalize(end_TW @ model.text_projection, dim=-1)


def train_teacher(recipe: MiniatureRecipe, world: World, folder: Path) -> None:
    """Train the teacher and write it to `folder`, which must exist, as open_clip's `local-dir:` reads it."""
    write_bpe(folder / "bpe.txt.gz")
    encode = encoder(folder / "bpe.txt.gz")
    vocabulary_size = int(encode(["a"])[0, -1]) + 1  # end of text has the highest id
    config = model_config(vocabulary_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = open_clip.model.CLIP(**config)
        _fit(model, recipe, world, encode)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    described = {"model_cfg": config, "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def _fit(model: Any, recipe: MiniatureRecipe, world: World, encode: Any) -> None:
    rng, words = np.random.default_rng([recipe.seed, 1]), random.Random(recipe.seed)
    decayed = [p for name, p in model.named_parameters() if p.ndim >= 2]
    others = [p for name, p in model.named_parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.teacher_learning_rate, betas=(0.9, 0.98))
    warmup, steps = recipe.teacher_warmup_steps, recipe.teacher_steps

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    model.train()
    with track("teacher", steps, "steps") as advance:
        for _ in range(steps):
            scenes, contents, numbers = family_batch(
                world, recipe.teacher_families, recipe.training_single_group_percent, rng
            )
            images = normalised(draw(scenes, place(scenes, rng)))
            tokens = encode([english_sentence(content, words.choice) for content in contents])
            loss = contrastive_loss(
                F.normalize(model.visual(images), dim=-1),
                encode_text(model, tokens),
                model.logit_scale.exp(),
                torch.from_numpy(numbers),
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            advance(1, note=f"loss {loss.item():.3f}")
    model.eval()
