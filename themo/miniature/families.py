"""The teacher's batches: scenes of the training split with their twins, and the facts that captions state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from themo.miniature.grammar import Content
from themo.miniature.scenes import Scenes, World, joined
from themo.miniature.twins import Kind, chosen, differ, scene_numbers, twins

FAMILY: tuple[tuple[Kind, ...], ...] = (
    ("shape",),
    ("count", "size"),
    ("swapped colours", "colour", "background"),
)
"""Kinds of twins in a batch, beside every scene; of several kinds in one entry, one per batch."""

N_MEMBERS = 1 + len(FAMILY)
"""Number of scenes of a family."""

SIZE_STATED, BACKGROUND_STATED = (0.85, 0.2), (0.85, 0.2)
"""Probabilities that captions state sizes and background: for two groups, for one (class prompts do not)."""


def family_batch(
    world: World, n_families: int, single_percent: int, rng: np.random.Generator
) -> tuple[Scenes, list[Content], NDArray[np.int64]]:
    """Draw scenes of the training split with their twins.

    Returns:
        N scenes, the contents of their captions, and (N,) int64 numbers, equal for equal contents.
    """
    base = world.random_scenes("train", n_families, single_percent, rng, distinct=False)
    family = [base]
    for kinds in FAMILY:
        kind = kinds[rng.integers(len(kinds))]
        twin = twins(base, kind, world, rng)
        # a single group has no relation, and not every swap stays in the split: change a shape instead
        family.append(chosen(differ(base, twin), twin, twins(base, "shape", world, rng)))
    scenes = joined(family)
    group = base.single.astype(np.int64)
    size_stated = np.tile(rng.random(n_families) < np.array(SIZE_STATED)[group], N_MEMBERS)
    background_stated = np.tile(rng.random(n_families) < np.array(BACKGROUND_STATED)[group], N_MEMBERS)
    contents = []
    for i in range(len(scenes)):
        content = scenes.content(i)
        if not size_stated[i]:
            second = content.second and replace(content.second, size=None)
            content = replace(content, first=replace(content.first, size=None), second=second)
        if not background_stated[i]:
            content = replace(content, background=None)
        contents.append(content)
    return scenes, contents, scene_numbers(scenes, size_stated, background_stated)
