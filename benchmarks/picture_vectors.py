"""Vectors that look like CLIP's for pictures and for texts, in any number, from real sentence vectors.

A million real picture vectors are not available. The content comes from Tatoeba's 118,175 sentence vectors of
a real encoder (`targets.npy`, 128 dimensions): a picture is a mixture of two of them, a text is one of the
`N_HELD_OUT` that no picture uses. Three properties of CLIP's spaces are added:

- Content lies in few of many dimensions: it is projected to 768 dimensions, with noise in all of them.
- Each modality lies in a cone of its own (Liang et al. 2022, "Mind the Gap", arXiv:2203.02053): pictures
  share one direction, texts another. So texts come from outside the pictures' distribution, which makes
  approximate search of pictures by text harder than of pictures by pictures.
- Pictures repeat: a tenth of them are the preceding picture with a little noise, as in series of photos.

The lengths of the parts are assumptions: the mean cosine of two pictures is 0.5, of a text and its nearest
pictures 0.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

DIMENSION = 768
"""Dimension of CLIP ViT-L/14's vectors."""
N_HELD_OUT = 1_000
CONE, NOISE = 1.0, 0.5
"""Lengths of the shared direction and of the noise beside a content of length 1."""
SERIES, SERIES_NOISE = 0.1, 0.2
"""Share of pictures that repeat the previous picture, and the length of their difference."""


class PictureVectors:
    """A source of vectors.

    Args:
        targets: (N, D) ``.npy`` of real vectors of length 1.
        seed: Seed of all random numbers.
    """

    def __init__(self, targets: Path, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        real_ND = np.load(targets, allow_pickle=False).astype(np.float32)
        self._random.shuffle(real_ND)
        turn, _ = np.linalg.qr(self._random.standard_normal((DIMENSION, real_ND.shape[1] + 2)))
        self._cones, self._turn = turn.T[:2].astype(np.float32), turn.T[2:].astype(np.float32)
        self._held_out, self._real = np.split(_unit(real_ND), [N_HELD_OUT])

    def texts(self, n: int) -> Vectors:
        """Return (n, 768) vectors of texts of length 1, n at most `N_HELD_OUT`."""
        return self._placed(self._held_out[:n], cone=1)

    def pictures(self, n: int, chunk: int) -> Iterator[Vectors]:
        """Yield n vectors of pictures of length 1, `chunk` at a time."""
        for start in range(0, n, chunk):
            size = min(chunk, n - start)
            first, second = self._real[self._random.integers(0, len(self._real), (2, size))]
            share = self._random.uniform(0.6, 1, (size, 1)).astype(np.float32)
            rows = self._placed(_unit(share * first + (1 - share) * second), cone=0)
            (again,) = np.nonzero(self._random.random(size - 1) < SERIES)
            rows[again + 1] = _unit(rows[again] + self._noise(len(again), SERIES_NOISE))
            yield rows

    def _placed(self, content: Vectors, cone: int) -> Vectors:
        noise = self._noise(len(content), NOISE)
        return _unit(content @ self._turn + CONE * self._cones[cone] + noise)

    def _noise(self, n: int, length: float) -> Vectors:
        noise: Vectors = self._random.standard_normal((n, DIMENSION), dtype=np.float32)
        noise *= length / np.sqrt(DIMENSION)
        return noise


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
