"""Builds an index: encodes new pictures into pieces, and rewrites stale and small pieces.

Pieces are written at a fixed interval, which limits the loss of a killed run. Small pieces are merged. Pieces
with changed or deleted pictures are rewritten.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from themo.errors import InputError
from themo.image_search.pictures import Stamp
from themo.image_search.pieces import Digests, MappedVectors, Piece, Vectors
from themo.models.image_files import UnreadableError
from themo.models.images import Identified, load_identified
from themo.process.progress import console, track

if TYPE_CHECKING:
    from themo.models.teacher import Teacher

SECONDS_BETWEEN_PIECES = 20.0
"""Seconds between pieces: a killed run loses this time and its current batch."""
PIECE_ROWS = 16_384
"""Greatest number of pictures of a piece; 48 MiB at 768 dimensions, the memory that a search maps."""
MOST_SMALL = 16
"""Number of pieces of less than half that size before they are merged."""
BATCH = {"cpu": 32, "cuda": 128}
"""Pictures per batch of the teacher; few on a slow device, since an interruption loses them."""


class Builder:
    """The pieces of an index under its lock.

    Args:
        home: Folder of the pieces.
        folder: The folder of pictures.
        found: Pictures now in the folder.
    """

    def __init__(self, home: Path, folder: Path, found: frozenset[Stamp]) -> None:
        self.found = found
        self._home = home
        self._folder = folder
        self._known: set[Stamp] = set()
        self.pieces: list[Piece]
        """Pieces in the order of their names and creation."""
        self.unreadable: dict[str, str] = {}
        """Reasons by name; not stored, since the files may become readable."""
        self.pieces, damaged = _read(home)
        for path in damaged:
            console.print(f"{path} is damaged or of an older version; encoding its pictures again")
            path.unlink()
        for piece in self.pieces:
            self._known.update(piece.stamps, piece.broken)
        whole = {piece.path.stem for piece in self.pieces}
        for path in home.iterdir():  # leftovers of a killed run
            if path.name.partition(".")[0] not in whole:
                path.unlink()

    def add_new(self, load: Callable[[], Teacher]) -> int:
        """Encode the pictures that are in no piece; return their number."""
        new = sorted(self.found - self._known)
        if not new:
            return 0
        teacher = load()
        part = _Part()
        paths = [self._folder / stamp.name for stamp in new]
        with (
            track("Encoding pictures", len(new), "pictures") as advance,
            closing(load_identified(paths, teacher.transform)) as images,
        ):
            seen = zip(new, images, strict=True)
            try:
                while batch := list(islice(seen, BATCH[teacher.device.type])):
                    self.unreadable |= {
                        stamp.name: str(image) for stamp, image in batch if isinstance(image, UnreadableError)
                    }
                    part.look(teacher, [each for each in batch if each[0].name not in self.unreadable])
                    advance(len(batch))
                    if part.age >= SECONDS_BETWEEN_PIECES or len(part.stamps) >= PIECE_ROWS:
                        self._write(part)
                        part = _Part()
                        if self._has_many_small:
                            self.tidy()
            finally:  # keep the vectors also after an interruption
                self._write(part)
        return len(new)

    def tidy(self) -> None:
        """Rewrite pieces with deleted or changed pictures, and merge many small ones."""
        merge = self._has_many_small
        worn: list[tuple[Piece, npt.NDArray[np.bool_]]] = []
        kept: list[Piece] = []
        taken: set[Stamp] = set()
        for piece in reversed(self.pieces):  # an interrupted rewrite leaves duplicates: the newer one counts
            alive = [stamp in self.found and stamp not in taken for stamp in piece.stamps]
            taken.update(piece.stamps)
            if all(alive) and self.found.issuperset(piece.broken) and not (merge and _is_small(piece)):
                kept.append(piece)
            else:
                worn.append((piece, np.array(alive, dtype=bool)))
        self.pieces = kept[::-1]
        part = _Part()
        for piece, alive_n in reversed(worn):
            part.take(piece, alive_n, self.found)
            if len(part.stamps) >= PIECE_ROWS:
                self._write(part)
                part = _Part()
        self._write(part)
        for piece, _ in worn:
            piece.remove()

    @property
    def _has_many_small(self) -> bool:
        return sum(map(_is_small, self.pieces)) > MOST_SMALL

    def _write(self, part: _Part) -> None:
        if part.stamps or part.broken:
            numbers = [int(path.stem) for path in self._home.glob("*.npy") if path.stem.isdigit()]
            path = self._home / f"{max(numbers, default=-1) + 1:06d}.json"
            self.pieces.append(Piece.write(path, part.vectors, part.stamps, part.broken, part.digests))


class _Part:
    """A piece under construction."""

    def __init__(self) -> None:
        self.vectors: list[Vectors] = []
        self.stamps: list[Stamp] = []
        self.broken: dict[Stamp, str] = {}
        self.digests: list[Digests] = []
        self._start = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._start

    def look(self, teacher: Teacher, batch: Sequence[tuple[Stamp, Identified | InputError]]) -> None:
        """Encode a batch; add its pictures and the reasons of unreadable ones."""
        whole = {stamp: image for stamp, image in batch if isinstance(image, Identified)}
        broken = {stamp: str(image) for stamp, image in batch if isinstance(image, InputError)}
        vectors = np.empty((0, teacher.dimension("embedding")), np.float32)
        if whole:
            pixels = np.stack([image.pixels for image in whole.values()])
            vectors = teacher.encode_pixels(torch.from_numpy(pixels)).numpy()
        self.vectors.append(vectors)
        self.digests.append(np.array([image.digests for image in whole.values()], np.uint64).reshape(-1, 4))
        self.stamps.extend(whole)
        self.broken |= broken

    def take(self, piece: Piece, alive_n: npt.NDArray[np.bool_], found: frozenset[Stamp]) -> None:
        """Add the pictures of a piece that still exist."""
        self.vectors.append(MappedVectors(piece.path.with_suffix(".npy")).rows[alive_n])
        self.digests.append(piece.digests[alive_n])
        self.stamps.extend(stamp for stamp, lives in zip(piece.stamps, alive_n, strict=True) if lives)
        self.broken |= {stamp: reason for stamp, reason in piece.broken.items() if stamp in found}


def read_whole(home: Path, found: frozenset[Stamp]) -> list[Piece] | None:
    """The pieces of an index of exactly these pictures, read without a lock; None: it needs an update.

    Args:
        home: Folder of the pieces.
        found: Pictures now in their folder.
    """
    pieces, damaged = _read(home)
    held = [stamp for piece in pieces for stamp in (*piece.stamps, *piece.broken)]
    return pieces if not damaged and len(held) == len(found) and found.issuperset(held) else None


def _read(home: Path) -> tuple[list[Piece], list[Path]]:
    """The complete pieces of an index, and the files of damaged ones, in the order of their names."""
    pieces: list[Piece] = []
    damaged: list[Path] = []
    for path in sorted(home.glob("*.json")):
        try:
            pieces.append(Piece.read(path))
        except (OSError, ValueError):
            damaged.append(path)
    return pieces, damaged


def _is_small(piece: Piece) -> bool:
    return len(piece.stamps) < PIECE_ROWS // 2
