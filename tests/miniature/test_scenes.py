from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from themo.errors import InputError
from themo.miniature.grammar import Content, Group
from themo.miniature.lexicon import ABOVE, LEFT, N_COMBINATIONS
from themo.miniature.scenes import SPLITS, Scenes, Split, World, class_scenes
from themo.miniature.twins import scene_numbers

WORLD = World(seed=0)


def drawn(split: Split, n: int = 500, seed: int = 0, **options: bool) -> Scenes:
    return WORLD.random_scenes(split, n, 15, np.random.default_rng(seed), **options)


def pairs(scenes: Scenes) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in scenes.combination.tolist()}


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_ten_unseen_combinations_one_per_shape(seed: int) -> None:
    world = World(seed)
    assert sorted(world.unseen // 8) == list(range(10))
    seen = np.delete(world.split_of, world.unseen, axis=0)
    seen = np.delete(seen, world.unseen, axis=1)
    assert (world.split_of == world.split_of.T).all()
    shares = [(seen == split).mean() for split in range(3)]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.04)
    assert (world.split_of == SPLITS.index("unseen")).sum() == 100


def test_no_pair_of_combinations_is_in_two_splits() -> None:
    found = [pairs(drawn(split)) for split in SPLITS]
    for i, ours in enumerate(found):
        for theirs in found[i + 1 :]:
            assert not ours & theirs


def test_only_the_unseen_split_shows_unseen_combinations() -> None:
    for split in SPLITS:
        shown = np.isin(drawn(split).combination, WORLD.unseen)
        assert shown.all() if split == "unseen" else not shown.any()


def test_distinct_scenes_differ_in_something_that_captions_tell() -> None:
    scenes = drawn("test", 1_000)
    assert len(set(scene_numbers(scenes))) == 1_000
    assert 0 < scenes.single.mean() <= 0.15


def test_equal_seeds_give_equal_scenes() -> None:
    once, again, other = (scene_numbers(drawn("train", seed=seed)) for seed in (1, 1, 2))
    assert (once == again).all()
    assert not (once == other).all()


def test_more_scenes_than_a_split_holds_are_refused() -> None:
    message = r"the split 'unseen' has 25,920 scenes of two groups, asked for 99,880"
    with pytest.raises(InputError, match=message):
        drawn("unseen", 100_000)
    assert len(drawn("unseen", 100_000, distinct=False)) == 100_000


def test_a_split_without_single_groups_gives_pairs() -> None:
    world = World(seed=0)
    diagonal = np.arange(N_COMBINATIONS)
    world.split_of[diagonal, diagonal] = SPLITS.index("train")
    for distinct in (True, False):
        scenes = world.random_scenes("test", 50, 50, np.random.default_rng(0), distinct)
        assert len(scenes) == 50
        assert not scenes.single.any()


def test_content_says_all_of_a_scene() -> None:
    scenes = Scenes(
        shape=np.array([[0, 4], [9, 0]]),
        colour=np.array([[1, 2], [3, 0]]),
        size=np.array([[0, 1], [1, 0]]),
        count=np.array([[3, 1], [2, 0]]),
        vertical=np.array([True, False]),
        background=np.array([2, 0]),
    )
    first, second = Group(shape=0, count=3, colour=1, size=0), Group(shape=4, count=1, colour=2, size=1)
    assert scenes.content(0) == Content(first, second, ABOVE, background=2)
    assert scenes.content(1) == Content(Group(9, 2, 3, 1), background=0)
    beside = Scenes(**{**vars(scenes), "vertical": np.array([False, False])})
    assert beside.content(0).relation == LEFT


def test_class_scenes_show_one_object_of_each_class_in_turn() -> None:
    scenes = class_scenes(3, np.random.default_rng(0))
    assert (scenes.combination[:, 0] == np.repeat(np.arange(80), 3)).all()
    assert (scenes.count == [1, 0]).all()
