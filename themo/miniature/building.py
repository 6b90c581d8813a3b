"""The build of the miniature world: corpus, teacher, blank student and test sets."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np

from themo.config.miniature import MiniatureRecipe
from themo.miniature.drawing import draw, place
from themo.miniature.grammar import (
    Content,
    Group,
    Pick,
    english_group,
    english_sentence,
    spanish_group,
    spanish_sentence,
)
from themo.miniature.layouts import write_classification_set, write_pairs, write_retrieval_set
from themo.miniature.lexicon import COLOURS, N_COMBINATIONS, SHAPES
from themo.miniature.pictured import PicturedSplit, pictured_scenes
from themo.miniature.scenes import Scenes, World, class_scenes
from themo.miniature.teaching import train_teacher
from themo.miniature.text_side import text_side
from themo.miniature.vocabulary import write_bpe
from themo.process.progress import track

T = TypeVar("T")

SIZE_STATED, BACKGROUND_STATED, RELATION_STATED = 0.8, 0.75, 0.9
"""Probabilities that a training pair states size, background and relation; test captions state all."""


def build(recipe: MiniatureRecipe, folder: Path) -> None:
    """Write a miniature world, equal for equal recipes up to the rounding of floats.

    ```
    corpus/train.tsv, validation.tsv  English and Spanish sentence pairs
    teacher/                          CLIP, for open_clip's "local-dir:" (bpe_path is relative to this folder)
    student/                          configuration and tokenizer of a BERT, no weights
    validation/, test/, unseen/       mscoco/ and xtd10/: pictures and captions
    test/imagenet/                    pictures, annotations, class names and prompts
    ```

    Args:
        recipe: Sizes and seed.
        folder: An existing, empty folder.

    Raises:
        InputError: A split holds fewer scenes than the recipe asks for.
    """
    world = World(recipe.seed)
    (folder / "teacher").mkdir()
    write_bpe(folder / "teacher" / "bpe.txt.gz")
    with text_side(recipe, folder / "teacher" / "bpe.txt.gz") as text:
        # write all else, and import transformers, while the process of the text tower starts
        from themo.miniature.blank_student import write_blank_student

        spanish = _write_corpus(recipe, world, folder / "corpus")
        (folder / "student").mkdir()
        write_blank_student(recipe, spanish, folder / "student")
        _write_pictures(recipe, world, folder)
        train_teacher(recipe, text, folder / "teacher")


def _write_corpus(recipe: MiniatureRecipe, world: World, folder: Path) -> list[str]:
    """Write both files of pairs; return the Spanish side of the training pairs."""
    rng, words = np.random.default_rng([recipe.seed, 2]), random.Random(f"corpus {recipe.seed}")  # noqa: S311
    scenes = world.random_scenes(
        "train", recipe.corpus_pairs, recipe.training_single_group_percent, rng, distinct=False
    )
    contents = [_partially_stated(scenes.content(i), words) for i in range(len(scenes))]
    pairs = [
        (english_sentence(content, words.choice), spanish_sentence(content, words.choice))
        for content in contents
    ]
    write_pairs(folder / "train.tsv", pairs)
    scenes = world.random_scenes("validation", recipe.validation_pairs, recipe.single_group_percent, rng)
    write_pairs(folder / "validation.tsv", list(zip(*_captions(scenes, words.choice), strict=True)))
    return [spanish for _, spanish in pairs]


def _partially_stated(content: Content, words: random.Random) -> Content:
    """Leave out parts of the content at random, as people do in captions."""

    def maybe_without_size(group: Group) -> Group:
        return group if words.random() < SIZE_STATED else replace(group, size=None)

    return Content(
        first=maybe_without_size(content.first),
        second=maybe_without_size(content.second) if content.second is not None else None,
        relation=content.relation if words.random() < RELATION_STATED else None,
        background=content.background if words.random() < BACKGROUND_STATED else None,
    )


def _captions(scenes: Scenes, pick: Pick) -> tuple[list[str], list[str]]:
    contents = [scenes.content(i) for i in range(len(scenes))]
    english = [english_sentence(content, pick) for content in contents]
    return english, [spanish_sentence(content, pick) for content in contents]


def _write_pictures(recipe: MiniatureRecipe, world: World, folder: Path) -> None:
    n_images = recipe.validation_images + recipe.test_images + recipe.unseen_images
    total = n_images + N_COMBINATIONS * recipe.images_per_class
    with track("pictures", total, "pictures") as advance:
        for split in get_args(PicturedSplit):
            words = random.Random(f"{split} {recipe.seed}")  # noqa: S311
            scenes, rng = pictured_scenes(recipe, world, split)
            english, spanish = _captions(scenes, words.choice)
            write_retrieval_set(folder / split, draw(scenes, place(scenes, rng)), english, spanish, advance)
        rng = np.random.default_rng([recipe.seed, 4])
        scenes = class_scenes(recipe.images_per_class, rng)
        objects = place(scenes, rng)
        write_classification_set(
            folder / "test" / "imagenet",
            pictures=draw(scenes, objects),
            classes=scenes.combination[:, 0],
            boxes=objects.boxes(),
            names=[class_names(c) for c in range(N_COMBINATIONS)],
            prompts=[class_prompts(c) for c in range(N_COMBINATIONS)],
            advance=advance,
        )


def class_names(number: int) -> list[str]:
    """Return all English names of a class: "red circle", "crimson circle", "red disc", ..."""
    shape, colour = SHAPES[number // len(COLOURS)], COLOURS[number % len(COLOURS)]
    return [f"{word} {noun.singular}" for noun in shape.english for word in colour.english]


def class_prompts(number: int) -> tuple[list[str], list[str]]:
    """Return sentences for a class in English and Spanish; the n-th of both are translations."""
    group = Group(shape=number // len(COLOURS), count=1, colour=number % len(COLOURS))
    english, spanish = english_group(group, _usual), spanish_group(group, _usual)
    return (
        [f"a picture of {english}", f"a drawing of {english}", f"there is {english}"],
        [f"una imagen de {spanish}", f"un dibujo de {spanish}", f"hay {spanish}"],
    )


def _usual(options: Sequence[T], /) -> T:
    """Pick the first option, by convention of lexicon and grammar the most usual word."""
    return options[0]
