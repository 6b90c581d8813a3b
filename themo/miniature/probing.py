"""Probing of text encoders by attribute: do captions distinguish the pictures of twins?

Retrieval is too easy. A thousand pictures rarely hold one that differs from the right one in a single
attribute, so an encoder that confuses left and right still finds it. Here each caption is compared with its
own picture and its twin's (as in Winoground, https://arxiv.org/abs/2204.03162).
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from themo.miniature.drawing import draw, place
from themo.miniature.grammar import english_sentence, spanish_sentence
from themo.miniature.scenes import Scenes, Split, World, joined
from themo.miniature.twins import Kind, differ, twins

KINDS: tuple[Kind, ...] = (
    "shape",
    "colour",
    "count",
    "size",
    "background",
    "swapped colours",
    "reversed relation",
)
N_SCENES = 200
"""Number of scenes of two groups that get a twin of each kind; some have none in the split."""

_SAY = {"en": english_sentence, "es": spanish_sentence}


class Reader(NamedTuple):
    """A text encoder, N sentences to (N, E) vectors in the image vectors' space, and its language."""

    encode: Callable[[Sequence[str]], torch.Tensor]
    language: str


def distinguished(
    world: World,
    split: Split,
    readers: Mapping[str, Reader],
    look: Callable[[Sequence[Path]], torch.Tensor],
    n_scenes: int = N_SCENES,
) -> dict[Kind, dict[str, NDArray[np.bool_]]]:
    """Return which pairs of twins an encoder distinguishes, by the nearer picture of each caption.

    Args:
        world: World with the splits.
        split: Split of the scenes and twins.
        readers: Readers by name, of language "en" or "es".
        look: Image files to (N, E) vectors.
        n_scenes: Number of scenes.

    Returns:
        (pairs,) bool per kind and reader, whether both captions are nearer to their own pictures than to the
        other. Chance is 25 %; an encoder with equal vectors for both captions scores 0 %.
    """
    rng = np.random.default_rng([world.seed, 5])
    base = world.random_scenes(split, n_scenes, 0, rng)
    others = [twins(base, kind, world, rng, split) for kind in KINDS]
    scenes = joined([base, *others])
    images_NE = _unit(_seen(scenes, look, rng))
    texts = {name: _unit(_read(scenes, reader)) for name, reader in readers.items()}
    result: dict[Kind, dict[str, NDArray[np.bool_]]] = {}
    for i, kind in enumerate(KINDS, start=1):
        own = torch.from_numpy(np.flatnonzero(differ(base, others[i - 1])))
        twin = own + i * n_scenes
        result[kind] = {
            name: (
                _is_nearer(text_NE, images_NE, own, twin) & _is_nearer(text_NE, images_NE, twin, own)
            ).numpy()
            for name, text_NE in texts.items()
        }
    return result


def _is_nearer(
    texts_NE: torch.Tensor, images_NE: torch.Tensor, own: torch.Tensor, other: torch.Tensor
) -> torch.Tensor:
    texts = texts_NE[own]
    return (texts * images_NE[own]).sum(dim=1) > (texts * images_NE[other]).sum(dim=1)


def _seen(
    scenes: Scenes, look: Callable[[Sequence[Path]], torch.Tensor], rng: np.random.Generator
) -> torch.Tensor:
    with tempfile.TemporaryDirectory(prefix="themo-twins-") as folder:
        paths = [Path(folder) / f"{i:05}.png" for i in range(len(scenes))]
        for path, picture in zip(paths, draw(scenes, place(scenes, rng)), strict=True):
            Image.fromarray(picture).save(path)
        return look(paths)


def _read(scenes: Scenes, reader: Reader) -> torch.Tensor:
    words = random.Random(f"twins {reader.language}")  # noqa: S311 -- no secret
    say = _SAY[reader.language]
    return reader.encode([say(scenes.content(i), words.choice) for i in range(len(scenes))])


def _unit(vectors_NE: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors_NE.float().cpu(), dim=-1)
