"""Teacher vectors of a corpus: computed once per English text and cached by content.

Vectors are stored in half precision: the rounding error, 2^-11 of a value, is far below a student's error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from themo.data.bitext import Bitext
from themo.errors import InputError
from themo.files.cache import Cache
from themo.files.npy import NpyWriter
from themo.files.vectors import VectorFile
from themo.models.teacher import Target, Teacher
from themo.process.devices import Device
from themo.process.progress import console, track

VECTORS = "vectors.npy"
_ROWS_A_CHUNK = 65_536
LARGE_CORPUS = 50_000
"""Fewest English texts to encode on other machines: a GPU encodes fewer within a minute."""

EncodeChunks = Callable[[Iterable[list[str]], Target], Iterator[npt.NDArray[Any]]]
"""(chunks of texts, target) -> the vectors of each chunk, in order."""

EncodeElsewhere = Callable[
    [tuple[str, str | None], Device, Iterable[list[str]], Target], Iterator[npt.NDArray[Any]]
]
"""(architecture and weights, device, chunks of texts, target) -> as `EncodeChunks`, on other machines."""


def teacher_vectors(
    cache: Cache,
    teacher_key: str,
    target: Target,
    bitext: Bitext,
    load: Callable[[], Teacher],
    elsewhere: EncodeChunks | None = None,
) -> Path:
    """Return the file of the vectors of a bitext's different English texts, (U, D) float16 in their order.

    Args:
        cache: Cache of the vectors.
        teacher_key: Fingerprint of the teacher.
        target: Text state, embedding, or embedding scaled to length 1.
        bitext: Bitext with the English side to encode.
        load: Loads the `Teacher`; called only if vectors must be computed.
        elsewhere: Computes the same vectors in the same order on other machines, for many texts; None: encode
            locally.

    Raises:
        InputError: A vector does not fit half precision.
    """

    def build(folder: Path) -> None:
        if elsewhere is None or _n_texts(bitext) < LARGE_CORPUS:
            _write(folder / VECTORS, _encoder_of(load()), bitext, target)
        else:
            try:
                _write(folder / VECTORS, _tracked(elsewhere, _n_texts(bitext)), bitext, target)
            except InputError as error:
                console.print(f"{error}; encoding locally instead")
                _write(folder / VECTORS, _encoder_of(load()), bitext, target)
        _refuse_non_finite(VectorFile(folder / VECTORS), "teacher", "vectors")

    key = {"teacher": teacher_key, "target": target, "texts": bitext.english_digest}
    return cache.entry("targets", key, build) / VECTORS


def _write(path: Path, encode: EncodeChunks, bitext: Bitext, target: Target) -> None:
    vectors = encode((texts.to_pylist() for texts in bitext.english()), target)
    first = next(vectors)
    with NpyWriter(path, "<f2", first.shape[1:]) as file:
        file.append(first)
        for each in vectors:
            file.append(each)


def _encoder_of(teacher: Teacher) -> EncodeChunks:
    return lambda chunks, target: (teacher.encode_texts(texts, target) for texts in chunks)


def _tracked(encode: EncodeChunks, n_texts: int) -> EncodeChunks:
    def encode_tracked(chunks: Iterable[list[str]], target: Target) -> Iterator[npt.NDArray[Any]]:
        with track("Encoding English texts on the cluster", n_texts, "texts") as advance:
            for vectors in encode(chunks, target):
                advance(len(vectors))
                yield vectors

    return encode_tracked


def _n_texts(bitext: Bitext) -> int:
    return int(bitext.english_ids.max(initial=-1)) + 1


def own_vectors(path: Path, n_rows: int) -> Path:
    """Check the user's own targets and return their file.

    Args:
        path: ``.npy`` of shape (N, D), float16 or float32.
        n_rows: Rows of the corpus, equal to N.

    Raises:
        InputError: The file has another format or length, or values that are not finite.
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
