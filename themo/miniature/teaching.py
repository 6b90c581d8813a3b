"""The miniature's teacher: a CLIP of open_clip with 0.6 million weights, trained on freshly drawn scenes."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from themo.miniature.drawing import CELL_PIXELS, IMAGE_PIXELS, draw, place
from themo.miniature.grammar import Content, english_sentence
from themo.miniature.recipe import MiniatureRecipe
from themo.miniature.scenes import Scenes, World, joined
from themo.miniature.twins import Kind, chosen, differ, scene_numbers, twins
from themo.miniature.vocabulary import CONTEXT_LENGTH, encoder, write_bpe
from themo.progress import track
from themo.weights import write_weights

MEAN = STD = 0.5
"""Of every colour channel: pixels from 0 to 255 become numbers from -1 to 1."""

FAMILY: tuple[tuple[Kind, ...], ...] = (
    ("shape",),
    ("count", "size"),
    ("swapped colours", "colour", "background"),
)
"""The twins that stand in a batch beside every scene; of several kinds one a batch."""

SIZE_TOLD, BACKGROUND_TOLD = (0.85, 0.5), (0.85, 0.5)
"""How often captions tell sizes and background: of two groups, of one (class prompts do not)."""

LARGEST_SCALE = 100.0
"""Of the logits, as of CLIP: the learnt temperature does not fall below 0.01."""


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
    family = [base]
    for kinds in FAMILY:
        kind = kinds[rng.integers(len(kinds))]
        twin = twins(base, kind, world, rng)
        # A single group has no relation, and not every swap stays in the split: another shape then.
        family.append(chosen(differ(base, twin), twin, twins(base, "shape", world, rng)))
    scenes = joined(family)
    members = 1 + len(FAMILY)
    group = base.single.astype(np.int64)
    size_told = np.tile(rng.random(n_families) < np.array(SIZE_TOLD)[group], members)
    background_told = np.tile(rng.random(n_families) < np.array(BACKGROUND_TOLD)[group], members)
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
    images_BD: torch.Tensor, texts_BD: torch.Tensor, scale: torch.Tensor, rivals_BB: torch.Tensor
) -> torch.Tensor:
    """CLIP's loss (https://arxiv.org/abs/2103.00020) among chosen rivals.

    Args:
        images_BD: (B, D) float, image vectors of length 1.
        texts_BD: (B, D) float, text vectors of length 1; row i belongs to image i.
        scale: Scalar, inverse temperature.
        rivals_BB: (B, B) bool, symmetric; where True, image i and text j are set against each other. The
            diagonal does not matter: an image and its own text always meet.
    """
    own_B = torch.arange(len(images_BD))
    met_BB = rivals_BB | (own_B[:, None] == own_B)
    logits_BB = (scale * images_BD @ texts_BD.T).masked_fill(~met_BB, -math.inf)
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
    config = model_config(vocabulary_size=int(encode(["a"])[0, -1]) + 1)  # end of text has the highest id
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(recipe.seed)
        model = open_clip.model.CLIP(**config)
        _fit(model, recipe, world, encode)
    write_weights(model.state_dict(), folder / "open_clip_model.safetensors")
    described = {"model_cfg": config, "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def _fit(
    model: Any, recipe: MiniatureRecipe, world: World, encode: Callable[[Sequence[str]], torch.Tensor]
) -> None:
    rng, words = np.random.default_rng([recipe.seed, 1]), random.Random(recipe.seed)  # noqa: S311
    optimizers = _optimizers(model, recipe)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _rate(step, recipe.teacher_warmup_steps, recipe.teacher_steps)
        )
        for optimizer in optimizers
    ]
    n_families = recipe.teacher_families
    model.train()
    with track("Teacher", recipe.teacher_steps, "steps") as advance:
        for _ in range(recipe.teacher_steps):
            scenes, contents, numbers = family_batch(
                world, n_families, recipe.training_single_group_percent, rng
            )
            texts_BD = encode_text(
                model, encode([english_sentence(content, words.choice) for content in contents])
            )
            images_BD = F.normalize(model.visual(normalised(draw(scenes, place(scenes, rng)))), dim=-1)
            numbers_B = torch.from_numpy(numbers)
            families_B = torch.arange(len(scenes)) % n_families
            rivals_BB = numbers_B[:, None] != numbers_B
            kin_BB = families_B[:, None] == families_B
            scale = model.logit_scale.exp()
            # In the whole batch colours and backgrounds nearly suffice; among twins only what differs does.
            loss = contrastive_loss(images_BD, texts_BD, scale, rivals_BB)
            loss = loss + contrastive_loss(images_BD, texts_BD, scale, rivals_BB & kin_BB)
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(LARGEST_SCALE))
            advance(1, note=f"loss {loss.item():.2f}")


def _optimizers(model: Any, recipe: MiniatureRecipe) -> list[torch.optim.Optimizer]:
    """Muon (https://kellerjordan.github.io/posts/muon) for the matrices of the blocks, AdamW for the rest.

    In as many steps AdamW alone leaves shapes and colours half confused (EXPERIMENTS.md).
    """
    blocks, matrices, gains_and_biases = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            gains_and_biases.append(parameter)
        elif "resblocks" in name:
            blocks.append(parameter)
        else:
            matrices.append(parameter)
    return [
        torch.optim.Muon(
            blocks,
            lr=recipe.teacher_muon_learning_rate,
            weight_decay=0.1,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": gains_and_biases, "weight_decay": 0.0}],
            lr=recipe.teacher_learning_rate,
            betas=(0.9, 0.98),
        ),
    ]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: equal on any number of cores, and layers this small gain little by a second.

    On a busy machine two threads wait for each other at every layer and take several times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rate(step: int, warmup_steps: int, steps: int) -> float:
    """Learning rate as a share of the highest: a rising line, then half a cosine down to 0."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (1 + math.cos(math.pi * (step - warmup_steps) / max(steps - warmup_steps, 1))) / 2
