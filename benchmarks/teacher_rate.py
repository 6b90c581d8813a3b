"""Encoding rate of the teacher's text tower without padding, and equality of its vectors."""

from __future__ import annotations

import random

import numpy as np
import open_clip
import torch

from benchmarks.measure import Goal, Options, Row, compare
from themo.miniature.grammar import english_sentence
from themo.miniature.scenes import World
from themo.models.teacher import Teacher

ROUNDS = 3
TEXTS_A_ROUND = 512
GOAL, GREATEST_DIFFERENCE = 3.0, 1e-5
ARCHITECTURE, GPU_ARCHITECTURE = "ViT-B-32", "ViT-L-14"
PADDED_EVERY = 4
"""Padded rounds encode only every fourth text: with padding, all texts cost the same."""


def run(options: Options) -> list[Row]:
    """The text tower of ViT-B/32 (12 layers of 512, context 77) with random weights, in float32."""
    teacher = _random_teacher(ARCHITECTURE, "cpu", options.seed)
    return _compare(teacher, ARCHITECTURE, GOAL, options, TEXTS_A_ROUND)


def run_on_gpu(options: Options) -> list[Row]:
    """The text tower of ViT-L/14 (12 layers of 768, context 77) with random weights, in float32."""
    teacher = _random_teacher(GPU_ARCHITECTURE, "cuda", options.seed)
    return _compare(teacher, GPU_ARCHITECTURE, None, options, 64 * TEXTS_A_ROUND)


def _compare(
    teacher: Teacher, architecture: str, goal: float | None, options: Options, texts_a_round: int
) -> list[Row]:
    texts, source = _texts(options, texts_a_round)
    few = texts[::PADDED_EVERY]

    def trimmed(_: int) -> float:
        return len(teacher.encode_texts(texts))

    def padded(_: int) -> float:
        return len(teacher.encode_texts(few, trim=False))

    whole = teacher.encode_texts(few, trim=False)
    difference = np.abs(teacher.encode_texts(few) - whole).max() / np.abs(whole).max()
    comparison = compare("the teacher's rate", trimmed, padded, ROUNDS)
    detail = f"{architecture}'s text tower, random weights, context 77, {source}"
    return [
        comparison.row("teacher rate, trimmed: padded = 1", goal, "texts", detail, options.seed),
        Row(
            "largest relative difference of a trimmed vector",
            float(difference),
            "",
            Goal(GREATEST_DIFFERENCE, "<"),
            detail=f"{len(few)} vectors; relative to the largest value",
            seeds=(options.seed,),
        ),
    ]


def _random_teacher(architecture: str, device: str, seed: int) -> Teacher:
    torch.manual_seed(seed)
    model, _, transform = open_clip.create_model_and_transforms(architecture, device=device)
    return Teacher(model, open_clip.get_tokenizer(architecture), transform, fingerprint="random")


def _texts(options: Options, n: int) -> tuple[list[str], str]:
    """`n` English sentences of Tatoeba if given, else of the miniature."""
    path = options.tatoeba / "spa.txt" if options.tatoeba else None
    if path is not None and path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        chosen = np.random.default_rng(options.seed).choice(len(lines), n, replace=n > len(lines))
        return [lines[i].partition("\t")[0] for i in chosen], "English of Tatoeba"
    words = random.Random(options.seed)
    scenes = World(0).random_scenes("train", n, 40, np.random.default_rng(options.seed))
    captions = [english_sentence(scenes.content(i), words.choice) for i in range(n)]
    return captions, "English captions of the miniature"
