from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from themo.miniature.drawing import CELL_PIXELS, GRID, Objects, draw, place
from themo.miniature.lexicon import BACKGROUNDS, COLOURS, SHAPES
from themo.miniature.scenes import Scenes, World, class_scenes


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return World(seed=0).random_scenes("train", 2_000, 20, np.random.default_rng(0))


@pytest.fixture(scope="module")
def objects(scenes: Scenes) -> Objects:
    return place(scenes, np.random.default_rng(1))


def group_of(scenes: Scenes, objects: Objects) -> np.ndarray:
    """Tell the group of each object; the two groups of a scene never share shape and colour."""
    own = np.stack([objects.shape, objects.colour], axis=1)
    first = np.stack([scenes.shape[:, 0], scenes.colour[:, 0]], axis=1)[objects.scene]
    return (own != first).any(axis=1).astype(int)


def test_every_object_of_a_scene_has_a_cell_of_its_own(scenes: Scenes, objects: Objects) -> None:
    assert (np.bincount(objects.scene) == scenes.count.sum(axis=1)).all()
    assert len(set(zip(objects.scene, objects.cell, strict=True))) == len(objects.scene)


def test_the_first_group_is_left_of_or_above_the_second(scenes: Scenes, objects: Objects) -> None:
    group = group_of(scenes, objects)
    for i in np.flatnonzero(~scenes.single)[:500]:
        own = objects.scene == i
        row, column = objects.cell[own] // GRID, objects.cell[own] % GRID
        first = group[own] == 0
        along, across = (row, column) if scenes.vertical[i] else (column, row)
        assert along[first].max() < along[~first].min()
        assert set(across[first]) & set(across[~first])


def test_pictures_show_objects_in_their_colour_on_the_background(scenes: Scenes, objects: Objects) -> None:
    pictures = draw(scenes, objects)
    assert pictures.shape == (2_000, 48, 48, 3)
    assert pictures.dtype == np.uint8
    grounds = np.array([background.rgb for background in BACKGROUNDS])[scenes.background]
    cells = (
        pictures.reshape(-1, GRID, CELL_PIXELS, GRID, CELL_PIXELS, 3).swapaxes(2, 3).reshape(2_000, 9, 256, 3)
    )
    paints = np.array([colour.rgb for colour in COLOURS])[objects.colour]
    painted = (cells[objects.scene, objects.cell] == paints[:, None]).all(-1).sum(1)
    assert painted.min() >= 4
    taken = np.zeros((2_000, 9), dtype=bool)
    taken[objects.scene, objects.cell] = True
    empty = (cells == grounds[:, None, None]).all(axis=(2, 3))
    assert (empty == ~taken).all()


def test_the_same_seed_draws_the_same_pictures(scenes: Scenes, objects: Objects) -> None:
    again = place(scenes, np.random.default_rng(1))
    assert (draw(scenes, again) == draw(scenes, objects)).all()


def test_boxes_hold_the_objects_and_nothing_more() -> None:
    scenes = class_scenes(4, np.random.default_rng(0))
    scenes = replace(scenes, background=np.zeros_like(scenes.background))  # black
    objects = place(scenes, np.random.default_rng(0))
    covered = draw(scenes, objects).max(axis=-1) > 0
    for box, seen in zip(objects.boxes(), covered, strict=True):
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        x0, y0, x1, y1 = box
        # A pixel is the object's where it covers more than half of it, so thin tips may stick out.
        assert 0 <= x0 - columns[0] <= 2
        assert 0 <= y0 - rows[0] <= 2
        assert 0 <= columns[-1] - x1 <= 2
        assert 0 <= rows[-1] - y1 <= 2


def test_shapes_and_sizes_differ_in_many_pixels() -> None:
    centre = 40  # of the 81 offsets: no jitter
    scenes = class_scenes(1, np.random.default_rng(0))
    n = len(SHAPES) * 2
    looks = scenes[np.zeros(n, dtype=np.int64)]
    looks = replace(looks, background=np.zeros(n, dtype=np.int64))
    shape, size = np.divmod(np.arange(n), 2)
    fixed = np.full(n, 4)
    white = np.full(n, 6)
    pictures = draw(looks, Objects(np.arange(n), fixed, shape, white, size, np.full(n, centre)))
    masks = pictures[..., 0].reshape(n, -1) / 250
    difference = np.abs(masks[:, None] - masks[None]).sum(-1) + np.eye(n) * 1e9
    assert difference.min() > 8
