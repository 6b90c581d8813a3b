"""Scenes of the miniature world as arrays, their splits, and random samples of them.

A scene holds one or two groups of equal objects on a background. Of two groups the first is to the left of
the second or above it, which covers all four relations: "right of" is "left of" with the groups exchanged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from themo.errors import InputError
from themo.miniature.grammar import Content, Group
from themo.miniature.lexicon import (
    ABOVE,
    BACKGROUNDS,
    COLOURS,
    LARGEST_COUNT,
    LEFT,
    N_COMBINATIONS,
    SHAPES,
    SIZES,
)

Split = Literal["train", "validation", "test", "unseen"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "unseen")

N_UNSEEN = len(SHAPES)
"""Number of shape-colour pairs outside the training scenes: one per shape."""

_LOOKS = len(SIZES) ** 2 * LARGEST_COUNT**2 * 2 * 2 * len(BACKGROUNDS)
"""Number of scenes of two groups with the same unordered pair of shape-colour pairs."""
_SINGLE_LOOKS = len(SIZES) * LARGEST_COUNT * len(BACKGROUNDS)


@dataclass(frozen=True)
class Scenes:
    """N scenes; for a scene of one group `count[i, 1]` is 0 and the other columns `1` are unused.

    Attributes:
        shape: (N, 2) int64, number in `SHAPES`.
        colour: (N, 2) int64, number in `COLOURS`.
        size: (N, 2) int64, number in `SIZES`.
        count: (N, 2) int64, objects in the group.
        vertical: (N,) bool, the first group lies above the second; otherwise to its left.
        background: (N,) int64, number in `BACKGROUNDS`.
    """

    shape: NDArray[np.int64]
    colour: NDArray[np.int64]
    size: NDArray[np.int64]
    count: NDArray[np.int64]
    vertical: NDArray[np.bool_]
    background: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.background)

    def __getitem__(self, chosen: NDArray[np.int64] | slice) -> Scenes:
        return Scenes(
            self.shape[chosen],
            self.colour[chosen],
            self.size[chosen],
            self.count[chosen],
            self.vertical[chosen],
            self.background[chosen],
        )

    @property
    def single(self) -> NDArray[np.bool_]:
        """(N,) bool: the scene has one group."""
        return np.equal(self.count[:, 1], 0)

    @property
    def combination(self) -> NDArray[np.int64]:
        """(N, 2) int64: shape-colour pair of each group; a single group is in both columns."""
        combination = self.shape * len(COLOURS) + self.colour
        combination[:, 1] = np.where(self.single, combination[:, 0], combination[:, 1])
        return combination

    def content(self, i: int) -> Content:
        """Return the full content of scene `i`."""
        first, second = (
            Group(int(self.shape[i, g]), int(self.count[i, g]), int(self.colour[i, g]), int(self.size[i, g]))
            for g in (0, 1)
        )
        background = int(self.background[i])
        if self.count[i, 1] == 0:
            return Content(first, background=background)
        return Content(first, second, ABOVE if self.vertical[i] else LEFT, background)


def joined(parts: list[Scenes]) -> Scenes:
    """Concatenate scenes."""
    return Scenes(
        np.concatenate([part.shape for part in parts]),
        np.concatenate([part.colour for part in parts]),
        np.concatenate([part.size for part in parts]),
        np.concatenate([part.count for part in parts]),
        np.concatenate([part.vertical for part in parts]),
        np.concatenate([part.background for part in parts]),
    )


class World:
    """The splits of scenes, by the hash of their unordered pair of shape-colour pairs.

    Of 80 shape-colour pairs 10, one per shape, occur only in the split "unseen", which holds the scenes of
    only such pairs. The other pairs of pairs fall to train, validation and test as 80 to 10 to 10.

    Attributes:
        seed: Seed of the split.
        unseen: (10,) int64, the shape-colour pairs that no other split holds.
        split_of: (80, 80) int64, symmetric: the number of the split in `SPLITS` by the two groups' pairs (on
            the diagonal: a single group), -1 where a pair of "unseen" meets another.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        colours = np.random.default_rng([seed, 0]).permutation(np.arange(N_UNSEEN) % len(COLOURS))
        self.unseen: NDArray[np.int64] = np.arange(len(SHAPES)) * len(COLOURS) + colours
        held_out = np.isin(np.arange(N_COMBINATIONS), self.unseen)
        self.split_of: NDArray[np.int64] = np.full((N_COMBINATIONS, N_COMBINATIONS), -1)
        for a in range(N_COMBINATIONS):
            for b in range(a, N_COMBINATIONS):
                digest = hashlib.blake2b(f"{seed}:{a}:{b}".encode(), digest_size=8).digest()
                tenth = int.from_bytes(digest, "big") % 10
                split = 0 if tenth < 8 else tenth - 7
                if held_out[a] or held_out[b]:
                    split = SPLITS.index("unseen") if held_out[a] and held_out[b] else -1
                self.split_of[a, b] = self.split_of[b, a] = split

    def random_scenes(
        self, split: Split, n: int, single_percent: int, rng: np.random.Generator, distinct: bool = True
    ) -> Scenes:
        """Return `n` scenes of a split in random order.

        Args:
            split: One of `SPLITS`.
            n: Number of scenes.
            single_percent: Share of scenes with one group; of distinct ones at most half of those that exist.
            rng: Random generator.
            distinct: Whether all scenes differ; otherwise they are drawn with replacement.

        Raises:
            InputError: The split holds too few scenes.
        """
        a, b = np.nonzero(np.triu(self.split_of == SPLITS.index(split)))
        pairs = np.stack([a, b], axis=1)
        single_pairs, double_pairs = pairs[a == b], pairs[a != b]
        n_singles, n_doubles = len(single_pairs) * _SINGLE_LOOKS, len(double_pairs) * _LOOKS
        n_single = round(n * single_percent / 100)
        if distinct or n_singles == 0:
            n_single = min(n_single, n_singles // 2)
        if distinct and n - n_single > n_doubles:
            raise InputError(
                f"miniature: the split {split!r} has {n_doubles:,} scenes of two groups, "
                f"asked for {n - n_single:,}"
            )
        if distinct:
            single, double = (
                rng.choice(n_singles, n_single, replace=False),
                rng.choice(n_doubles, n - n_single, replace=False),
            )
        else:
            single = rng.integers(max(n_singles, 1), size=n_single)
            double = rng.integers(n_doubles, size=n - n_single)
        scenes = joined([_single_scenes(single_pairs, single), _double_scenes(double_pairs, double)])
        return scenes[rng.permutation(n)]


def class_scenes(images_per_class: int, rng: np.random.Generator) -> Scenes:
    """Return scenes of one object, `images_per_class` for each of the 80 classes, class after class."""
    n = N_COMBINATIONS * images_per_class
    combination = np.repeat(np.arange(N_COMBINATIONS), images_per_class)
    nothing = np.zeros(n, dtype=np.int64)
    return Scenes(
        shape=np.stack([combination // len(COLOURS), nothing], axis=1),
        colour=np.stack([combination % len(COLOURS), nothing], axis=1),
        size=np.stack([rng.integers(len(SIZES), size=n), nothing], axis=1),
        count=np.stack([nothing + 1, nothing], axis=1),
        vertical=nothing.astype(bool),
        background=rng.integers(len(BACKGROUNDS), size=n),
    )


def _single_scenes(pairs: NDArray[np.int64], looks: NDArray[np.int64]) -> Scenes:
    pair, size, count, background = np.unravel_index(
        looks, (len(pairs), len(SIZES), LARGEST_COUNT, len(BACKGROUNDS))
    )
    combination = pairs[pair, 0]
    nothing = np.zeros(len(looks), dtype=np.int64)
    return Scenes(
        shape=np.stack([combination // len(COLOURS), nothing], axis=1),
        colour=np.stack([combination % len(COLOURS), nothing], axis=1),
        size=np.stack([size, nothing], axis=1),
        count=np.stack([count + 1, nothing], axis=1),
        vertical=nothing.astype(bool),
        background=background,
    )


def _double_scenes(pairs: NDArray[np.int64], looks: NDArray[np.int64]) -> Scenes:
    sides = (len(SIZES), len(SIZES), LARGEST_COUNT, LARGEST_COUNT, 2, 2, len(BACKGROUNDS))
    pair, size0, size1, count0, count1, order, vertical, background = np.unravel_index(
        looks, (len(pairs), *sides)
    )
    combination = np.where(order[:, None] == 0, pairs[pair], pairs[pair][:, ::-1])
    return Scenes(
        shape=combination // len(COLOURS),
        colour=combination % len(COLOURS),
        size=np.stack([size0, size1], axis=1),
        count=np.stack([count0, count1], axis=1) + 1,
        vertical=vertical.astype(bool),
        background=background,
    )
