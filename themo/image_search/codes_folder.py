"""Codes of an index's pieces on disk, in the folder ``pictures-<digest>.codes`` beside the index.

    <SHA-256 of a piece's vectors>.npy   their integers, (P, E) int8
    <SHA-256 of a piece's vectors>.json  mean, scales and errors, and the digest of the integers

The JSON is written last and makes the codes valid. Missing or damaged codes are recomputed from the vectors;
codes of deleted pieces are removed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from themo.files.atomic import write_text
from themo.files.cache import digest_file
from themo.files.npy import NpyWriter
from themo.image_search.codes import Bounds, RoundedQuery, Rounding, round_vectors
from themo.image_search.pieces import Mapped, MappedVectors, Piece, Vectors


@dataclass(frozen=True)
class CodedPiece:
    """The codes of a piece, its integers memory-mapped."""

    integers: Mapped[np.int8]
    rounding: Rounding

    def bounds(self, query: RoundedQuery) -> Bounds:
        """Return the bounds of products of the piece's vectors with a query."""
        bounds = self.rounding.bounds(self.integers.rows, query)
        self.integers.release()
        return bounds


def update_codes(home: Path, pieces: Sequence[Piece]) -> tuple[CodedPiece, ...]:
    """Open the codes of an index's pieces; compute missing ones.

    Args:
        home: Folder of the pieces.
        pieces: The pieces.

    Raises:
        OSError: The codes cannot be written.
    """
    folder = home.with_name(f"{home.name}.codes")
    folder.mkdir(exist_ok=True)
    current = {piece.sha256 for piece in pieces}
    for path in folder.iterdir():
        if path.stem not in current:
            path.unlink()
    codes = []
    for piece in pieces:
        path = folder / f"{piece.sha256}.npy"
        vectors = MappedVectors(piece.path.with_suffix(".npy"))
        codes.append(_read(path) or write_codes(path, vectors.rows))
    return tuple(codes)


def read_codes(home: Path, pieces: Sequence[Piece]) -> tuple[CodedPiece, ...]:
    """Open the codes of an index's pieces without changing the disk; empty if any are missing."""
    folder = home.with_name(f"{home.name}.codes")
    codes = [_read(folder / f"{piece.sha256}.npy") for piece in pieces]
    return tuple(code for code in codes if code is not None) if all(codes) else ()


def _read(path: Path) -> CodedPiece | None:
    try:
        tree = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if tree["sha256"] != digest_file(path):
            return None
        mean_E, scales_P, errors_P = (_floats(tree[name]) for name in ("mean", "scales", "errors"))
        return CodedPiece(Mapped(path), Rounding(mean_E, scales_P, errors_P, float(tree["longest"])))
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged
        return None


def write_codes(path: Path, vectors_PE: Vectors) -> CodedPiece:
    """Write the codes of float32 vectors to a ``.npy`` and a ``.json`` beside it, and open them."""
    path.with_suffix(".json").unlink(missing_ok=True)
    integers_PE, rounding = round_vectors(vectors_PE)
    with NpyWriter(path, np.int8, integers_PE.shape[1:]) as out:
        out.append(integers_PE)
    tree = {
        "sha256": digest_file(path),
        "mean": rounding.mean_E.tobytes().hex(),
        "scales": rounding.scales_P.tobytes().hex(),
        "errors": rounding.errors_P.tobytes().hex(),
        "longest": rounding.longest,
    }
    write_text(path.with_suffix(".json"), json.dumps(tree))
    return CodedPiece(Mapped(path), rounding)


def _floats(text: str) -> Vectors:
    return np.frombuffer(bytes.fromhex(text), np.float32)
