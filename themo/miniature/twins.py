"""Twins: scenes that differ from a given scene in one attribute.

A contrastive teacher learns the attributes that distinguish the texts of a batch. In a batch of random scenes
colours and backgrounds suffice, and shapes, counts and relations are not learnt. Twins in every batch force
the teacher to learn them. The same pairs, tested one by one, measure the knowledge of a model (Winoground,
https://arxiv.org/abs/2204.03162).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from themo.miniature.lexicon import BACKGROUNDS, COLOURS, LARGEST_COUNT, SHAPES, SIZES
from themo.miniature.scenes import SPLITS, Scenes, Split, World, joined

Kind = Literal[
    "shape", "colour", "size", "count", "background", "swapped colours", "reversed relation", "turned"
]


def twins(
    scenes: Scenes, kind: Kind, world: World, rng: np.random.Generator, split: Split = "train"
) -> Scenes:
    """Return a twin of each scene that stays in the split.

    A scene without such a twin is returned itself, for example for the relation of one group.

    Args:
        scenes: N scenes of the split.
        kind: The differing attribute. "count" exchanges the counts of two groups if they differ, "size"
            the sizes, "reversed relation" the places; "turned" makes "left of" "above" and back.
        world: World with the splits.
        rng: Random generator.
        split: The split of the scenes and of the twins.
    """
    n = len(scenes)
    rows = np.arange(n)
    group = rng.integers(np.where(scenes.single, 1, 2))
    if kind == "shape":
        return _with_other_look(scenes, group, "shape", world, rng, split)
    if kind == "colour":
        return _with_other_look(scenes, group, "colour", world, rng, split)
    if kind == "background":
        step = rng.integers(1, len(BACKGROUNDS), size=n)
        return replace(scenes, background=(scenes.background + step) % len(BACKGROUNDS))
    if kind == "size":
        size = scenes.size.copy()
        size[rows, group] = len(SIZES) - 1 - size[rows, group]
        exchanged = ~scenes.single & (scenes.size[:, 0] != scenes.size[:, 1])
        return replace(scenes, size=np.where(exchanged[:, None], scenes.size[:, ::-1], size))
    if kind == "count":
        count = scenes.count.copy()
        step = rng.integers(1, LARGEST_COUNT, size=n)
        count[rows, group] = (count[rows, group] - 1 + step) % LARGEST_COUNT + 1
        exchanged = ~scenes.single & (scenes.count[:, 0] != scenes.count[:, 1])
        return replace(scenes, count=np.where(exchanged[:, None], scenes.count[:, ::-1], count))
    if kind == "swapped colours":
        swapped = replace(scenes, colour=scenes.colour[:, ::-1])
        pair = swapped.combination
        allowed = ~scenes.single & (world.split_of[pair[:, 0], pair[:, 1]] == SPLITS.index(split))
        return replace(scenes, colour=np.where(allowed[:, None], swapped.colour, scenes.colour))
    if kind == "reversed relation":
        order = np.where(scenes.single[:, None], [0, 1], [1, 0])
        look = {
            name: np.take_along_axis(getattr(scenes, name), order, axis=1)
            for name in ("shape", "colour", "size", "count")
        }
        return replace(scenes, **look)
    return replace(scenes, vertical=scenes.vertical ^ ~scenes.single)


def chosen(mask: NDArray[np.bool_], scenes: Scenes, others: Scenes) -> Scenes:
    """Return scene i of `scenes` where `mask[i]`, of `others` elsewhere."""
    rows = np.arange(len(mask)) + np.where(mask, 0, len(mask))
    return joined([scenes, others])[rows]


def differ(scenes: Scenes, others: Scenes) -> NDArray[np.bool_]:
    """Return (N,) bool, whether the scenes i differ visibly."""
    return np.not_equal(scene_numbers(scenes), scene_numbers(others))


def scene_numbers(
    scenes: Scenes,
    size_stated: NDArray[np.bool_] | bool = True,
    background_stated: NDArray[np.bool_] | bool = True,
) -> NDArray[np.int64]:
    """Return (N,) int64, equal for two scenes exactly if their stated contents are equal.

    Args:
        scenes: N scenes.
        size_stated: Whether captions state the sizes, for all or for each (N,).
        background_stated: Whether captions state the background, for all or for each (N,).
    """
    second = ~scenes.single
    size = np.where(np.reshape(size_stated, (-1, 1)), scenes.size, len(SIZES))
    parts = [
        (scenes.vertical & second, 2),
        (np.where(background_stated, scenes.background, len(BACKGROUNDS)), len(BACKGROUNDS) + 1),
    ]
    for group in (0, 1):
        shown = second if group else True
        parts += [
            (scenes.shape[:, group] * shown, len(SHAPES)),
            (scenes.colour[:, group] * shown, len(COLOURS)),
            (size[:, group] * shown, len(SIZES) + 1),
            (scenes.count[:, group], LARGEST_COUNT + 1),
        ]
    return np.ravel_multi_index([part for part, _ in parts], [side for _, side in parts])


def _with_other_look(
    scenes: Scenes,
    group: NDArray[np.int64],
    what: Literal["shape", "colour"],
    world: World,
    rng: np.random.Generator,
    split: Split,
) -> Scenes:
    """Change the chosen group's shape or colour so that the scene stays in the split."""
    rows = np.arange(len(scenes))
    n_values = len(SHAPES) if what == "shape" else len(COLOURS)
    values = np.arange(n_values)
    shape, colour = scenes.shape[rows, group][:, None], scenes.colour[rows, group][:, None]
    old = shape if what == "shape" else colour
    combination = (
        values * len(COLOURS) + colour if what == "shape" else shape * len(COLOURS) + values
    )  # (N, values)
    other = np.where(scenes.single[:, None], combination, scenes.combination[rows, 1 - group][:, None])
    allowed = (world.split_of[combination, other] == SPLITS.index(split)) & (values != old)
    allowed &= (combination != other) | scenes.single[:, None]
    value = (rng.random((len(scenes), n_values)) * allowed).argmax(axis=1)
    changed = getattr(scenes, what).copy()
    changed[rows, group] = np.where(allowed.any(axis=1), value, old[:, 0])
    return replace(scenes, shape=changed) if what == "shape" else replace(scenes, colour=changed)
