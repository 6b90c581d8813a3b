"""The recipe of the miniature world: all its sizes."""

from __future__ import annotations

from pydantic import Field

from themo.config.sections import MAX_SEED, Section


class MiniatureRecipe(Section):
    """Sizes and seed of a miniature world: equal recipes give equal worlds, up to the rounding of floats.

    Pixels, shapes, colours and words are constants of the world, in the modules of `themo.miniature`.
    """

    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of all random choices: splits, scenes, words, pictures, weights; no unit."""

    corpus_pairs: int = Field(default=48_000, gt=0)
    """Sentence pairs in `corpus/train.tsv`."""

    validation_pairs: int = Field(default=1_000, gt=0)
    """Sentence pairs in `corpus/validation.tsv`, each of a different scene."""

    test_images: int = Field(default=1_000, gt=0)
    """Pictures, each with one caption, of the retrieval test set."""

    validation_images: int = Field(default=1_000, gt=0)
    """Pictures, each with one caption, of the retrieval validation set."""

    unseen_images: int = Field(default=1_000, gt=0)
    """Pictures, each with one caption, of shape-colour pairs that no training scene contains."""

    images_per_class: int = Field(default=12, gt=0)
    """Pictures per class of the classification test set; there are 80 classes."""

    single_group_percent: int = Field(default=15, ge=0, le=100)
    """Greatest share of pictures with one group of objects in the retrieval sets, in percent."""

    training_single_group_percent: int = Field(default=40, ge=0, le=100)
    """Share of scenes with one group of objects in the corpus and in the teacher's training, in percent."""

    teacher_steps: int = Field(default=1_200, gt=0)
    """Optimiser steps of the teacher; a fixed number, so that every machine trains the same teacher."""

    teacher_families: int = Field(default=32, gt=0)
    """Families of twins (scenes that differ in one thing) in a training batch of the teacher."""

    teacher_muon_learning_rate: float = Field(default=3e-3, gt=0)
    """Peak learning rate of Muon, the optimiser of the matrices in the teacher's blocks; no unit."""

    teacher_learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of AdamW, the optimiser of the teacher's other weights; no unit."""

    teacher_warmup_steps: int = Field(default=50, ge=0)
    """Warm-up steps of the teacher's learning rates."""

    student_hidden: int = Field(default=128, gt=0, multiple_of=32)
    """Width of the student's BERT, in values per token; each head is 32 wide."""

    student_layers: int = Field(default=2, gt=0)
    """Layers of the student's BERT."""

    student_positions: int = Field(default=128, gt=0)
    """Longest input of the student's BERT, in tokens."""
