"""Every size that shapes the miniature world."""

from __future__ import annotations

from pydantic import Field

from themo.config.sections import Section


class MiniatureRecipe(Section):
    """What a miniature world is built from: equal recipes give equal worlds, up to the rounding of floats.

    The numbers that are not here (pixels, shapes, colours, words) are the world itself and live in the
    modules of this package.
    """

    seed: int = Field(default=0, ge=0)
    """Seed of everything that is drawn: splits, scenes, words, pictures, weights; no unit."""

    corpus_pairs: int = Field(default=48_000, gt=0)
    """Sentence pairs in `corpus/train.tsv`."""

    validation_pairs: int = Field(default=1_000, gt=0)
    """Sentence pairs in `corpus/validation.tsv`, each of a scene of its own."""

    test_images: int = Field(default=1_000, gt=0)
    """Pictures, each with one caption, of the retrieval test set."""

    validation_images: int = Field(default=1_000, gt=0)
    """Pictures, each with one caption, of the retrieval validation set."""

    unseen_images: int = Field(default=1_000, gt=0)
    """Pictures, each with one caption, that show only shape-colour pairs no training scene holds."""

    images_per_class: int = Field(default=12, gt=0)
    """Pictures a class of the classification test set; there are 80 classes."""

    single_group_percent: int = Field(default=15, ge=0, le=100)
    """Share of pictures with one group of objects in the retrieval sets, at most, in percent."""

    training_single_group_percent: int = Field(default=40, ge=0, le=100)
    """Share of scenes with one group of objects in the corpus and in the teacher's training, in percent."""

    teacher_steps: int = Field(default=1_200, gt=0)
    """Optimiser steps of the teacher: a fixed number, so that a busy machine trains the same teacher."""

    teacher_families: int = Field(default=32, gt=0)
    """Families of twins (scenes that differ in one thing) in a training batch of the teacher."""

    teacher_muon_learning_rate: float = Field(default=3e-3, gt=0)
    """Highest learning rate of Muon, which trains the matrices of the teacher's blocks; no unit."""

    teacher_learning_rate: float = Field(default=1e-3, gt=0)
    """Highest learning rate of AdamW, which trains the teacher's other weights; no unit."""

    teacher_warmup_steps: int = Field(default=50, ge=0)
    """Optimiser steps over which the teacher's learning rates rise."""

    student_hidden: int = Field(default=128, gt=0, multiple_of=32)
    """Width of the student's BERT, in numbers a token; a head is 32 wide."""

    student_layers: int = Field(default=2, gt=0)
    """Layers of the student's BERT."""

    student_positions: int = Field(default=128, gt=0)
    """Longest input of the student's BERT, in tokens."""
