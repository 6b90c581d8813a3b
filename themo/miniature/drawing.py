"""Pictures of scenes: 48 x 48 pixels, a grid of 3 x 3 cells, one object per cell with a little jitter.

A cell is a patch of the teacher's image tower. With objects at free positions a teacher of this size learns
almost nothing (R@1 0.04 against 0.86, see EXPERIMENTS.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from themo.miniature.lexicon import BACKGROUNDS, COLOURS, SHAPES, SIZES
from themo.miniature.scenes import Scenes

GRID = 3
CELL_PIXELS = 16
IMAGE_PIXELS = GRID * CELL_PIXELS

_RADII = (3.9, 6.3)
"""Half the height of an object in pixels, by size."""
_OFFSETS = np.linspace(-1.6, 1.6, 9)
"""Offsets of an object's centre in each direction, in pixels from the centre of its cell."""
_SAMPLES = 4
"""Sample points per pixel side for a shape's coverage."""


@dataclass(frozen=True)
class Objects:
    """M objects of N scenes, each an (M,) int64 array.

    Attributes:
        scene: Index of the scene.
        cell: Cell of the grid, 0 to 8, row by row.
        shape: Number in `SHAPES`.
        colour: Number in `COLOURS`.
        size: Number in `SIZES`.
        offset: Number of the jitter, 0 to 80.
    """

    scene: NDArray[np.int64]
    cell: NDArray[np.int64]
    shape: NDArray[np.int64]
    colour: NDArray[np.int64]
    size: NDArray[np.int64]
    offset: NDArray[np.int64]

    def boxes(self) -> NDArray[np.int64]:
        """Return (M, 4) int64: first and last column and row of each object, as x0, y0, x1, y1."""
        corner = np.stack([self.cell % GRID, self.cell // GRID] * 2, axis=1) * CELL_PIXELS
        return corner + _boxes()[self.shape, self.size, self.offset]


def place(scenes: Scenes, rng: np.random.Generator) -> Objects:
    """Assign a cell and a jitter to every object of every scene.

    The first group of two lies wholly to the left of (or above) the second, and the two share at least one
    row (or column), so that no picture shows both "left of" and "above".
    """
    n = len(scenes)
    cells = np.arange(GRID * GRID)
    along = np.where(
        scenes.vertical[:, None], cells // GRID, cells % GRID
    )  # position in the relation's direction
    across = np.where(scenes.vertical[:, None], cells % GRID, cells // GRID)
    border = rng.integers(1, GRID, size=(n, 1))
    shared = rng.integers(GRID, size=(n, 1))
    chosen = np.zeros((n, 2, GRID * GRID), dtype=bool)
    for group in (0, 1):
        allowed = (along < border) == (group == 0)
        allowed[scenes.single] = group == 0
        # the lowest keys win: first one cell in the shared row, then any allowed cell
        keys = rng.random((n, GRID * GRID))
        keys[~allowed] = np.inf
        in_row = np.where(across == shared, keys, np.inf)
        keys[np.arange(n), in_row.argmin(axis=1)] = -1
        rank = keys.argsort(axis=1).argsort(axis=1)
        chosen[:, group] = rank < scenes.count[:, group, None]
    scene, which, cell = np.nonzero(chosen)
    return Objects(
        scene=scene,
        cell=cell,
        shape=scenes.shape[scene, which],
        colour=scenes.colour[scene, which],
        size=scenes.size[scene, which],
        offset=rng.integers(len(_OFFSETS) ** 2, size=len(scene)),
    )


def draw(scenes: Scenes, objects: Objects) -> NDArray[np.uint8]:
    """Return the pictures, (N, 48, 48, 3) uint8, red, green and blue."""
    ground = np.array([background.rgb for background in BACKGROUNDS], dtype=np.float32)[scenes.background]
    paint = np.array([colour.rgb for colour in COLOURS], dtype=np.float32)[objects.colour]
    pictures = np.empty((len(scenes), GRID, CELL_PIXELS, GRID, CELL_PIXELS, 3), dtype=np.uint8)
    pictures[:] = ground[:, None, None, None, None].astype(np.uint8)
    cover = _masks()[objects.shape, objects.size, objects.offset][..., None]  # (M, 16, 16, 1)
    under = ground[objects.scene][:, None, None]
    cells = under + cover * (paint[:, None, None] - under)
    pictures[objects.scene, objects.cell // GRID, :, objects.cell % GRID] = (cells + 0.5).astype(np.uint8)
    return pictures.reshape(len(scenes), IMAGE_PIXELS, IMAGE_PIXELS, 3)


@lru_cache(maxsize=1)
def _masks() -> NDArray[np.float32]:
    """Return the coverage of a cell's pixels, 0 to 1: (10 shapes, 2 sizes, 81 offsets, 16, 16) float32."""
    points = (np.arange(CELL_PIXELS * _SAMPLES) + 0.5) / _SAMPLES - CELL_PIXELS / 2
    dy, dx = np.meshgrid(_OFFSETS, _OFFSETS, indexing="ij")
    masks = np.empty(
        (len(SHAPES), len(SIZES), len(_OFFSETS) ** 2, CELL_PIXELS, CELL_PIXELS), dtype=np.float32
    )
    for size, radius in enumerate(_RADII):
        x = (points[None, None, :] - dx.reshape(-1, 1, 1)) / radius
        y = (points[None, :, None] - dy.reshape(-1, 1, 1)) / radius
        for shape in range(len(SHAPES)):
            inside = np.broadcast_to(_inside(shape, x, y), (len(_OFFSETS) ** 2, len(points), len(points)))
            blocks = inside.reshape(-1, CELL_PIXELS, _SAMPLES, CELL_PIXELS, _SAMPLES)
            masks[shape, size] = blocks.mean(axis=(2, 4), dtype=np.float32)
    return masks


@lru_cache(maxsize=1)
def _boxes() -> NDArray[np.int64]:
    """Return first and last column and row of each mask: (10, 2, 81, 4) int64, as x0, y0, x1, y1."""
    covered: NDArray[np.bool_] = np.greater(_masks(), 0.5)
    columns, rows = np.any(covered, axis=-2), np.any(covered, axis=-1)
    last = CELL_PIXELS - 1
    return np.stack(
        [
            columns.argmax(-1),
            rows.argmax(-1),
            last - columns[..., ::-1].argmax(-1),
            last - rows[..., ::-1].argmax(-1),
        ],
        axis=-1,
    )


def _inside(shape: int, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points lie in a shape of radius 1 around the origin; y grows downwards."""
    radius: NDArray[np.float64] = np.hypot(x, y)
    if shape == 0:  # circle
        return radius < 0.95
    if shape == 1:  # square
        return np.maximum(np.abs(x), np.abs(y)) < 0.82
    if shape == 2:  # triangle, point upwards
        return (y < 0.85) & (2.0 * np.abs(x) < y + 1.05)
    if shape == 3:  # diamond
        return np.abs(x) / 0.72 + np.abs(y) < 1.05
    if shape == 4:  # star of five points
        sector = np.pi / 5
        angle = np.abs((np.arctan2(x, -y) + sector) % (2 * sector) - sector)
        # The edge runs from the outer radius at angle 0 to the inner one at 36 degrees.
        outer, inner = 1.08, 0.45
        px, py = radius * np.cos(angle), radius * np.sin(angle)
        qx, qy = inner * np.cos(sector), inner * np.sin(sector)
        edge: NDArray[np.float64] = (px - outer) * qy - py * (qx - outer)
        return edge < 0
    if shape == 5:  # heart
        u, v = x * 1.2, 0.15 - y * 1.15
        return np.less((u**2 + v**2 - 0.9) ** 3, 1.6 * u**2 * v**3)
    if shape == 6:  # cross
        ax, ay = np.abs(x), np.abs(y)
        return (np.minimum(ax, ay) < 0.3) & (np.maximum(ax, ay) < 0.98)
    if shape == 7:  # ring
        return (radius < 1.0) & (radius > 0.56)
    if shape == 8:  # crescent, open to the right
        return (radius < 1.0) & np.greater(np.hypot(x - 0.5, y), 0.78)
    # Arrow, pointing to the right.
    head = (x > 0.0) & (x + 1.15 * np.abs(y) < 1.05)
    shaft = (x <= 0.0) & (x > -1.0) & (np.abs(y) < 0.3)
    return head | shaft
