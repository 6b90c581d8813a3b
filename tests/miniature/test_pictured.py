from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import TINY_MINIATURE

from themo.config.miniature import MiniatureRecipe
from themo.config.settings import load
from themo.data.sources import Sources
from themo.miniature.building import _write_pictures
from themo.miniature.grammar import english_sentence, spanish_sentence
from themo.miniature.pictured import ATTRIBUTES, agreement, mentions, pictured_scenes
from themo.miniature.scenes import Scenes, World, joined

RECIPE = MiniatureRecipe(**TINY_MINIATURE)


def scene(*groups: tuple[int, int, int, int], vertical: bool = False, background: int = 0) -> Scenes:
    """One scene by shape, colour, size and count of its groups."""
    shape, colour, size, count = (
        np.array([[group[i] for group in (*groups, (0, 0, 0, 0))[:2]]]) for i in range(4)
    )
    return Scenes(shape, colour, size, count, np.array([vertical]), np.array([background]))


A, B = (1, 2, 0, 3), (4, 5, 1, 1)


def wrong(asked: Scenes, found: Scenes) -> set[str]:
    compared = agreement(asked, found)
    return {name for name in ATTRIBUTES if not compared.agrees[name][0]}


@pytest.mark.parametrize("split", ["validation", "test", "unseen"])
def test_the_scenes_are_those_of_the_captions_on_disk(tmp_path: Path, split: Any) -> None:
    """Captions made from the scenes alone, with the builder's choice of words, are the same."""
    _write_pictures(RECIPE, World(RECIPE.seed), tmp_path)
    scenes, _ = pictured_scenes(RECIPE, World(RECIPE.seed), split)
    words = random.Random(f"{split} {RECIPE.seed}")
    contents = [scenes.content(i) for i in range(len(scenes))]
    english = [english_sentence(content, words.choice) for content in contents]
    spanish = [spanish_sentence(content, words.choice) for content in contents]
    for code, told in (("en", english), ("es", spanish)):
        path = tmp_path / split / "xtd10" / f"test_1kcaptions_{code}.txt"
        assert path.read_text(encoding="utf-8").splitlines() == told


def test_only_the_miniatures_retrieval_sets_have_scenes(tiny_miniature: Path) -> None:
    sources = Sources(load(tiny_miniature))
    pictured = sources.pictured("miniature:unseen/xtd10")
    assert pictured is not None
    assert (len(pictured.scenes), pictured.split) == (TINY_MINIATURE["unseen_images"], "unseen")
    assert sources.pictured("miniature:corpus/train.tsv") is None
    assert sources.pictured("data/xtd10") is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (scene(A, B), set()),
        (scene((7, 2, 0, 3), B), {"shape"}),
        (scene(A, (4, 0, 1, 1)), {"colour"}),
        (scene((1, 2, 1, 3), B), {"size"}),
        (scene((1, 2, 0, 2), B), {"count"}),
        (scene(A, B, background=2), {"background"}),
        (scene(A, B, vertical=True), {"relation"}),
        (scene(B, A), {"relation"}),
        (scene((1, 5, 0, 3), (4, 2, 1, 1)), {"colour"}),  # colours exchanged: what is bound to what counts
        (scene(A), {"shape", "colour", "size", "count", "relation"}),  # the second group is missing
    ],
)
def test_agreement_of_two_groups(found: Scenes, expected: set[str]) -> None:
    assert wrong(scene(A, B), found) == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (scene(A), set()),
        (scene((1, 2, 0, 1)), {"count"}),
        (scene(A, B), {"count", "relation"}),  # it shows more than was asked for
        (scene(B, A), {"count", "relation"}),
    ],
)
def test_agreement_of_one_group(found: Scenes, expected: set[str]) -> None:
    assert wrong(scene(A), found) == expected


def test_one_group_has_no_relation() -> None:
    asked = joined([scene(A), scene(A, B)])
    told = agreement(asked, asked).is_stated
    assert told["relation"].tolist() == [False, True]
    assert told["shape"].tolist() == [True, True]


def test_a_caption_mentions_the_groups_that_are_there() -> None:
    scenes = joined([scene(A), scene(B, A), scene((0, 0, 0, 1))])
    assert mentions(scenes, "shape", 1).tolist() == [True, True, False]
    assert mentions(scenes, "colour", 0).tolist() == [False, False, True]  # not the group that is not there
    assert mentions(scenes, "count", 1).tolist() == [False, True, True]
