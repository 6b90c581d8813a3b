"""Principal axes of a teacher's vectors, along which a vector's first values carry most information.

The dimensions of a published teacher are in no order. A rotation to the axes of greatest second moment
(principal components without a shift of the mean) keeps every cosine of whole vectors, and of all rotations
it gives prefixes whose products are nearest to those of whole vectors (Eckart and Young, 1936). Texts and
images must be rotated alike, so a version of nested widths keeps its axes beside the student.

Shape suffixes: N vectors, D dimensions of the student's vectors, E dimensions of image space, K a width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from themo.errors import InputError, reason_of
from themo.files.vectors import VectorFile
from themo.files.weights import write_weights

AXES_FILE = "axes.safetensors"
"""File of the axes in a student's folder."""
_NAME = "axes"
_ROWS_A_CHUNK = 65_536


def principal_axes(
    vectors: VectorFile, rows: npt.NDArray[np.int64], to_image_space: Tensor | None = None
) -> Tensor:
    """Return the principal axes of targets scaled to length 1, (E, E) float32, an axis a column.

    The first axis has the greatest second moment. Each axis points to where its greatest value is positive,
    so that equal targets give equal axes.

    Args:
        vectors: Teacher vectors, (U, D).
        rows: (N,) the row of each training pair; a row counts as often as it occurs.
        to_image_space: Affine map to image space, (D + 1, E); None: the identity.
    """
    counts_U = np.bincount(rows, minlength=len(vectors))
    moment: npt.NDArray[np.float64] | None = None
    start = 0
    for chunk in vectors.chunks(_ROWS_A_CHUNK):
        counts = counts_U[start : start + len(chunk)]
        start += len(chunk)
        targets = chunk[counts > 0].astype(np.float64)
        if to_image_space is not None:
            matrix = to_image_space.double().numpy()
            targets = targets @ matrix[:-1] + matrix[-1]
        lengths = np.linalg.norm(targets, axis=1, keepdims=True)
        targets /= np.maximum(lengths, np.finfo(np.float32).tiny)
        part = targets.T @ (targets * counts[counts > 0, None])
        moment = part if moment is None else moment + part
    assert moment is not None  # noqa: S101 -- training data have pairs
    axes: npt.NDArray[Any] = np.linalg.eigh(moment)[1][:, ::-1]
    greatest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return torch.from_numpy((axes * np.sign(greatest)).astype(np.float32))


def write_axes(folder: Path, axes: Tensor) -> None:
    """Write axes (E, E) into a student's folder."""
    write_weights({_NAME: axes.contiguous()}, folder / AXES_FILE)


def read_axes(folder: Path) -> Tensor | None:
    """Read the axes in a student's folder, (E, E) float32; None: the student has no nested widths.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / AXES_FILE
    if not path.is_file():
        return None
    try:
        axes = load_file(path)[_NAME]
    except (OSError, KeyError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read: {reason_of(error)}") from error
    if axes.ndim != 2 or axes.shape[0] != axes.shape[1]:
        raise InputError(f"{path}: must contain a square matrix, got {tuple(axes.shape)}")
    return axes


def shorten(vectors_NE: Tensor, axes: Tensor, width: int) -> Tensor:
    """Return the first values of vectors along the axes, (N, K)."""
    return vectors_NE @ axes[:, :width].to(vectors_NE.device)
