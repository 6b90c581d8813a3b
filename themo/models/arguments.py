"""Refusals of texts, images and dimensions that a program passes to a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from themo.errors import InputError


def refuse_texts(texts: Sequence[str]) -> None:
    """Refuse an argument that is not a list of Unicode texts.

    Raises:
        InputError: Not a list, another type in it, or a text with an unpaired surrogate.
    """
    require_list(texts, "texts", str)
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise InputError("`texts` must be Unicode, got an unpaired surrogate") from None


def require_list(values: object, name: str, kinds: type | tuple[type, ...]) -> None:
    """Require that an argument is a list whose values have one of some types.

    Args:
        values: The argument.
        name: Its name, for the message.
        kinds: Allowed types of its values.

    Raises:
        InputError: It is not a list, or a value has another type.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise InputError(f"`{name}` must be a list, got {type(values).__name__}")
    for value in values:
        if not isinstance(value, kinds):
            raise InputError(f"`{name}` must contain only {name}, got {type(value).__name__}")


def refuse_dimensions(dimensions: int | None, axes: npt.NDArray[np.float32] | None, version: Path) -> None:
    """Refuse a length of shortened vectors that a student does not offer; None: full vectors.

    Args:
        dimensions: The requested length.
        axes: Principal axes of the student, (D, D); None: it has no nested widths.
        version: The student's folder, for the message.

    Raises:
        InputError: The student has no nested widths, or the length is not from 1 to D.
    """
    if dimensions is None:
        return
    if axes is None:
        raise InputError(
            f"{version}: `dimensions` needs a student trained with loss.nested_widths, got "
            f"{dimensions} for one of whole vectors"
        )
    if not 1 <= dimensions <= len(axes):
        raise InputError(f"`dimensions` must be from 1 to {len(axes)}, got {dimensions}")
