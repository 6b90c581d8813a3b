from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from themo.miniature.scenes import SPLITS, Scenes, World
from themo.miniature.twins import Kind, chosen, differ, scene_numbers, twins

WORLD = World(seed=0)
FIELDS = ("shape", "colour", "size", "count", "vertical", "background")
MAY_CHANGE: dict[Kind, set[str]] = {
    "shape": {"shape"},
    "colour": {"colour"},
    "size": {"size"},
    "count": {"count"},
    "background": {"background"},
    "swapped colours": {"colour"},
    "reversed relation": {"shape", "colour", "size", "count"},
    "turned": {"vertical"},
}


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return WORLD.random_scenes("train", 1_000, 30, np.random.default_rng(0))


def twins_of(scenes: Scenes, kind: Kind) -> Scenes:
    return twins(scenes, kind, WORLD, np.random.default_rng(1))


@pytest.mark.parametrize("kind", get_args(Kind))
def test_twins_differ_in_their_kind_alone_and_stay_in_the_split(scenes: Scenes, kind: Kind) -> None:
    others = twins_of(scenes, kind)
    changed = {name for name in FIELDS if (getattr(scenes, name) != getattr(others, name)).any()}
    assert changed == MAY_CHANGE[kind]
    pair = others.combination
    assert (WORLD.split_of[pair[:, 0], pair[:, 1]] == SPLITS.index("train")).all()
    assert (others.single == scenes.single).all()
    assert (pair[:, 0] != pair[:, 1])[~scenes.single].all()


@pytest.mark.parametrize("kind", ["shape", "colour", "size", "count", "background"])
def test_nearly_every_scene_has_a_twin_of_these_kinds(scenes: Scenes, kind: Kind) -> None:
    assert differ(scenes, twins_of(scenes, kind)).mean() > 0.99


@pytest.mark.parametrize("kind", ["swapped colours", "reversed relation", "turned"])
def test_a_single_group_has_no_twin_of_relation(scenes: Scenes, kind: Kind) -> None:
    different = differ(scenes, twins_of(scenes, kind))
    assert not different[scenes.single].any()
    assert different[~scenes.single].mean() > (0.45 if kind == "swapped colours" else 0.99)


def test_twins_exchange_attributes_of_two_groups(scenes: Scenes) -> None:
    pairs = scenes[np.flatnonzero(~scenes.single)]
    exchanged = pairs.count[:, 0] != pairs.count[:, 1]
    assert (twins_of(pairs, "count").count == pairs.count[:, ::-1])[exchanged].all()
    swapped = twins_of(pairs, "swapped colours")
    different = differ(pairs, swapped)
    assert (swapped.colour == pairs.colour[:, ::-1])[different].all()
    assert (twins_of(twins_of(pairs, "reversed relation"), "reversed relation").shape == pairs.shape).all()


def test_numbers_are_equal_exactly_where_contents_are_equal(scenes: Scenes) -> None:
    contents = [scenes.content(i) for i in range(len(scenes))]
    assert len(set(scene_numbers(scenes))) == len(set(contents))
    resized = twins_of(scenes, "size")
    assert (scene_numbers(resized, size_stated=False) == scene_numbers(scenes, size_stated=False)).all()
    grounds = twins_of(scenes, "background")
    told = np.arange(len(scenes)) % 2 == 0
    same = scene_numbers(grounds, background_stated=told) == scene_numbers(scenes, background_stated=told)
    assert (same == ~told).all()


def test_chosen_takes_each_scene_from_the_side_that_is_asked_for(scenes: Scenes) -> None:
    others = twins_of(scenes, "background")
    mask = np.arange(len(scenes)) % 3 == 0
    assert (differ(scenes, chosen(mask, scenes, others)) == ~mask).all()
