"""Prepared data of `train()`: token ids, memory-mapped, and teacher vectors, read row by row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from themo.files.vectors import VectorFile


@dataclass(frozen=True)
class EncodedPairs:
    """Token ids of N Spanish sentences and the rows of their translations' vectors.

    The object holds only paths and opens files on first use. So it is cheap to send to other processes, and
    all processes of a machine share the pages.

    Attributes:
        folder: ``ids.npy`` (T,) flat token ids, ``offsets.npy`` (N + 1,) int64, ``rows.npy`` (N,) int64 rows
            of the vectors, ``english.npy`` (N,) int64, equal for equal English sentences.
        vectors: ``.npy`` of the teacher vectors, (U, D).
    """

    folder: Path
    vectors: Path

    @cached_property
    def ids(self) -> npt.NDArray[np.integer[Any]]:
        """(T,) all token ids, sentence after sentence, special tokens included."""
        values: npt.NDArray[np.integer[Any]] = _map(self.folder / "ids.npy")
        return values

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """(N + 1,) start of each sentence in `ids`."""
        values: npt.NDArray[np.int64] = _map(self.folder / "offsets.npy")
        return values

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """(N,) row of each pair's teacher vector."""
        values: npt.NDArray[np.int64] = _map(self.folder / "rows.npy")
        return values

    @cached_property
    def english_ids(self) -> npt.NDArray[np.int64]:
        """(N,) numbers, equal for equal English sentences only."""
        values: npt.NDArray[np.int64] = _map(self.folder / "english.npy")
        return values

    @cached_property
    def targets(self) -> VectorFile:
        """(U, D) teacher vectors."""
        return VectorFile(self.vectors)

    @cached_property
    def layout(self) -> dict[str, int]:
        """``pad``, the id of padding, and ``suffix``, the number of special tokens at a sentence's end."""
        layout: dict[str, int] = json.loads((self.folder / "layout.json").read_text(encoding="utf-8"))
        return layout

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Path]:
        return {"folder": self.folder, "vectors": self.vectors}


@dataclass(frozen=True)
class CaptionedImages:
    """Spanish captions and image vectors for retrieval in validation.

    Attributes:
        captions: Token ids of T captions; `vectors` holds the teacher's vectors of I images, (I, E), and
            `rows` the image of each caption.
        to_image_space: ``.npy`` of the affine map from the student's vectors to the images', (D + 1, E)
            float32 with the bias in the last row; None: both are in one space.
        english: ``.npy`` of the teacher's vectors of the T English captions, (T, E), whose retrieval is the
            ceiling of validation; None: unknown.
    """

    captions: EncodedPairs
    to_image_space: Path | None
    english: Path | None = None


@dataclass(frozen=True)
class TrainingData:
    """Data of `train()`.

    Attributes:
        train, validation: The pairs.
        backbone: Folder or hub name of the student's backbone, resolved.
        images: Captioned images for validation, or None.
        parts: Number of training pairs of each corpus, in their order, and their repetitions per epoch;
            empty: one corpus without repetitions.
        backbone_repository: Hub repository of the backbone; None: the backbone is a folder.
        corpus: Key of the pairs, equal for equal pairs in equal order; None: unknown.
        to_image_space: ``.npy`` of the affine map from the targets to image space, as in `CaptionedImages`,
            for nested widths; None: the targets are in image space, or there are no widths.
        plain_backbone: Folder of the backbone's configuration and tokenizer that need no transformers
            (`themo.models.plain_backbone`); None: the backbone's own are read.
        targets: Key of the teacher vectors, equal for equal vectors of equal pairs; None: unknown.
    """

    train: EncodedPairs
    validation: EncodedPairs
    backbone: str
    images: CaptionedImages | None = None
    parts: tuple[tuple[int, float], ...] = ()
    backbone_repository: str | None = None
    corpus: str | None = None
    to_image_space: Path | None = None
    plain_backbone: str | None = None
    targets: str | None = None

    @property
    def backbone_files(self) -> str:
        """Folder or hub name of the backbone's configuration and tokenizer."""
        return self.plain_backbone or self.backbone

    @property
    def pairs_an_epoch(self) -> int:
        """Number of sentence pairs per epoch."""
        return sum(round(n * weight) for n, weight in self.parts) if self.parts else len(self.train)

    @property
    def dimension(self) -> int:
        """Length of a teacher vector."""
        return int(self.train.targets.shape[1])


def _map(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)
