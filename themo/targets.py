"""Teacher vectors of a corpus: computed once for each English text and kept by content.

A vector is stored in half precision: its rounding, 2^-11 of a value, is far below what a student gets right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from themo.bitext import Bitext
from themo.cache import Cache
from themo.errors import InputError
from themo.npy import NpyWriter
from themo.teacher import Target, Teacher
from themo.vectors import VectorFile

VECTORS = "vectors.npy"
_ROWS_A_CHUNK = 65_536


def teacher_vectors(
    cache: Cache, teacher_key: str, target: Target, bitext: Bitext, load: Callable[[], Teacher]
) -> Path:
    """File of the vectors of the different English texts of a bitext, (U, D) float16 in their order.

    Args:
        cache: Where they are kept.
        teacher_key: Fingerprint of the teacher.
        target: Text state or embedding.
        bitext: Whose English side it is.
        load: Gives the `Teacher`; called only if something must be computed.

    Raises:
        InputError: A vector does not fit half precision.
    """

    def build(folder: Path) -> None:
        teacher = load()
        with NpyWriter(folder / VECTORS, "<f2", (teacher.dimension(target),)) as file:
            for texts in bitext.english():
                file.append(teacher.encode_texts(texts.to_pylist(), target))
        _refuse_non_finite(VectorFile(folder / VECTORS), "teacher", "vectors")

    key = {"teacher": teacher_key, "target": target, "texts": bitext.english_digest}
    return cache.entry("targets", key, build) / VECTORS


def own_vectors(path: Path, n_rows: int) -> Path:
    """The user's own targets, checked.

    Args:
        path: ``.npy`` of shape (N, D), float16 or float32.
        n_rows: Rows of the corpus, which N must equal.

    Raises:
        InputError: Not such a file, another length, or values that are not finite.
    """
    if not path.is_file():
        raise InputError(f"targets {path}: no such file")
    try:
        vectors = VectorFile(path)
    except (ValueError, OSError) as error:
        raise InputError(f"targets {path}: {error}") from None
    if len(vectors) != n_rows:
        raise InputError(
            f"targets {path}: must have a row for each of the corpus's {n_rows} rows, got {len(vectors)}"
        )
    _refuse_non_finite(vectors, f"targets {path}", "rows")
    return path


def _refuse_non_finite(vectors: VectorFile, what: str, unit: str) -> None:
    start = 0
    for chunk in vectors.chunks(_ROWS_A_CHUNK):
        finite = np.isfinite(chunk).all(axis=1)
        if not finite.all():
            row = start + int(np.flatnonzero(~finite)[0])
            raise InputError(f"{what}: all values must be finite, {unit} {row} (counted from 0) is not")
        start += len(chunk)
