"""Builds an index: encodes new pictures into pieces, and rewrites stale and small pieces.

Pieces are written at a fixed interval, which limits the loss of a killed run. Small pieces are merged. Pieces
with changed or deleted pictures are rewritten. Pictures that still exist but are not listed, such as excluded
ones, move to pieces in the folder ``pictures-<digest>.excluded`` and come back without being encoded again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from themo.errors import InputError
from themo.image_search.pictures import Stamp, is_unchanged
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
        self.pieces = _open(home)
        """Pieces in the order of their names and creation."""
        self._excluded_home = home.with_name(f"{home.name}.excluded")
        self._excluded = _open(self._excluded_home)
        self.unreadable: dict[str, str] = {}
        """Reasons by name; not stored, since the files may become readable."""
        for piece in (*self.pieces, *self._excluded):
            self._known.update(piece.stamps, piece.broken)

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
                        _write(part, self._home, self.pieces)
                        part = _Part()
                        if self._has_many_small:
                            self.tidy()
            finally:  # keep the vectors also after an interruption
                _write(part, self._home, self.pieces)
        return len(new)

    def tidy(self) -> None:
        """Rewrite pieces whose pictures changed, left or came back, and merge many small ones."""
        merge = self._has_many_small
        worn: list[tuple[Piece, set[Stamp], set[Stamp]]] = []
        kept: list[Piece] = []
        excluded: list[Piece] = []
        taken: set[Stamp] = set()
        # an interrupted rewrite leaves duplicates: the newer one counts
        for piece in reversed(self._excluded + self.pieces):
            fresh = {*piece.stamps, *piece.broken} - taken
            taken |= fresh
            listed = fresh & self.found
            is_whole = len(fresh) == len(piece.stamps) + len(piece.broken)
            is_excluded = piece.path.parent == self._excluded_home
            unlisted = {stamp for stamp in fresh - listed if is_unchanged(self._folder, stamp)}
            if is_excluded and is_whole and unlisted == fresh:
                excluded.append(piece)
            elif not is_excluded and is_whole and listed == fresh and not (merge and _is_small(piece)):
                kept.append(piece)
            else:
                worn.append((piece, listed, unlisted))
        self.pieces, self._excluded = kept[::-1], excluded[::-1]
        part, aside = _Part(), _Part()
        for piece, listed, unlisted in reversed(worn):
            part.take(piece, listed)
            aside.take(piece, unlisted)
            if len(part.stamps) >= PIECE_ROWS:
                _write(part, self._home, self.pieces)
                part = _Part()
            if len(aside.stamps) >= PIECE_ROWS:
                _write(aside, self._excluded_home, self._excluded)
                aside = _Part()
        _write(part, self._home, self.pieces)
        _write(aside, self._excluded_home, self._excluded)
        for piece, _, _ in worn:
            piece.remove()

    @property
    def _has_many_small(self) -> bool:
        return sum(map(_is_small, self.pieces)) > MOST_SMALL


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

    def take(self, piece: Piece, chosen: Set[Stamp]) -> None:
        """Add some pictures of a piece."""
        rows = [row for row, stamp in enumerate(piece.stamps) if stamp in chosen]
        self.vectors.append(MappedVectors(piece.path.with_suffix(".npy")).rows[rows])
        self.digests.append(piece.digests[rows])
        self.stamps.extend(piece.stamps[row] for row in rows)
        self.broken |= {stamp: reason for stamp, reason in piece.broken.items() if stamp in chosen}


def read_whole(home: Path, found: frozenset[Stamp]) -> list[Piece] | None:
    """The pieces of an index of exactly these pictures, read without a lock; None: it needs an update.

    Args:
        home: Folder of the pieces.
        found: Pictures now in their folder.
    """
    pieces, damaged = _read(home)
    held = [stamp for piece in pieces for stamp in (*piece.stamps, *piece.broken)]
    return pieces if not damaged and len(held) == len(found) and found.issuperset(held) else None


def _open(home: Path) -> list[Piece]:
    """The complete pieces in a folder, under the index's lock; damaged and unfinished files are removed."""
    pieces, damaged = _read(home)
    for path in damaged:
        console.print(f"{path} is damaged or of an older version; encoding its pictures again")
        path.unlink()
    whole = {piece.path.stem for piece in pieces}
    for path in home.glob("*"):  # leftovers of a killed run
        if path.name.partition(".")[0] not in whole:
            path.unlink()
    return pieces


def _write(part: _Part, home: Path, pieces: list[Piece]) -> None:
    """Write a part as the next piece in a folder and add it to its pieces; do nothing if it is empty."""
    if part.stamps or part.broken:
        home.mkdir(exist_ok=True)
        numbers = [int(path.stem) for path in home.glob("*.npy") if path.stem.isdigit()]
        path = home / f"{max(numbers, default=-1) + 1:06d}.json"
        pieces.append(Piece.write(path, part.vectors, part.stamps, part.broken, part.digests))


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
