"""The scenes of the retrieval sets' pictures, and the agreement of retrieved pictures with captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from themo.config.miniature import MiniatureRecipe
from themo.miniature.scenes import Scenes, World

PicturedSplit = Literal["validation", "test", "unseen"]

Attribute = Literal["shape", "colour", "count", "size", "relation", "background"]
ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)


def pictured_scenes(
    recipe: MiniatureRecipe, world: World, split: PicturedSplit
) -> tuple[Scenes, np.random.Generator]:
    """Return the scenes of a retrieval set, picture by picture, and the generator for placing objects."""
    splits = get_args(PicturedSplit)
    n_images = {
        "validation": recipe.validation_images,
        "test": recipe.test_images,
        "unseen": recipe.unseen_images,
    }
    rng = np.random.default_rng([recipe.seed, 3, splits.index(split)])
    return world.random_scenes(split, n_images[split], recipe.single_group_percent, rng), rng


@dataclass(frozen=True)
class Pictured:
    """A retrieval set of the miniature.

    Attributes:
        scenes: Scenes of its pictures, picture by picture.
        world: World with the splits.
        split: Split of the scenes.
    """

    scenes: Scenes
    world: World
    split: PicturedSplit


@dataclass(frozen=True)
class Agreement:
    """Agreement of N pictures with the scenes of their captions.

    Attributes:
        agrees: (N,) bool per attribute, whether it is the same.
        is_stated: (N,) bool per attribute, whether the caption states it: one group has no relation.
    """

    agrees: dict[Attribute, NDArray[np.bool_]]
    is_stated: dict[Attribute, NDArray[np.bool_]]


def agreement(asked: Scenes, found: Scenes) -> Agreement:
    """Compare N scenes with N others, attribute by attribute.

    The groups of two scenes are matched in the order with more agreement, so that a picture with exchanged
    groups has the right shapes and colours and the wrong relation. Missing groups count as wrong.
    """
    looks: tuple[Attribute, ...] = ("shape", "colour", "count", "size")
    missing = np.stack([np.zeros(len(found), dtype=bool), found.single], axis=1)
    unstated = np.stack([np.zeros(len(asked), dtype=bool), asked.single], axis=1)

    def same(order: list[int]) -> NDArray[np.bool_]:
        """Return (N, looks), whether all groups agree with those of the other scene in this order."""
        equal = [getattr(asked, look) == getattr(found, look)[:, order] for look in looks]
        return np.stack([((part & ~missing[:, order]) | unstated).all(axis=1) for part in equal], axis=1)

    straight, exchanged = same([0, 1]), same([1, 0])
    is_exchanged = exchanged.sum(axis=1) > straight.sum(axis=1)
    best = np.where(is_exchanged[:, None], exchanged, straight)
    as_many = np.equal(asked.single, found.single)
    agrees: dict[Attribute, NDArray[np.bool_]] = {look: best[:, i] for i, look in enumerate(looks)}
    agrees["count"] = agrees["count"] & as_many
    agrees["relation"] = ~is_exchanged & np.equal(asked.vertical, found.vertical) & as_many
    agrees["background"] = np.equal(asked.background, found.background)
    always = np.ones(len(asked), dtype=bool)
    is_stated = {name: ~asked.single if name == "relation" else always for name in ATTRIBUTES}
    return Agreement({name: agrees[name] for name in ATTRIBUTES}, is_stated)


def mentions(scenes: Scenes, attribute: Attribute, value: int) -> NDArray[np.bool_]:
    """Return (N,) bool, whether a scene has a group with a value of shape, colour, count or size."""
    shown = np.stack([np.ones(len(scenes), dtype=bool), ~scenes.single], axis=1)
    found: NDArray[np.bool_] = (np.equal(getattr(scenes, attribute), value) & shown).any(axis=1)
    return found
