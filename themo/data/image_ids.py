"""Ids of MSCOCO images, parsed from numbers and file names in a table."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

RULE = (
    "must contain image ids (436508, 436508.0) or MSCOCO file names "
    "(COCO_train2014_000000436508.jpg, 000000436508.jpg)"
)
_NUMBER = r"(?P<number>[0-9]+)(?:\.0*)?"
_FILE = r"(?:.*[/\\])?(?:COCO_(?:train|val|test)[0-9]{4}_)?(?P<file>[0-9]+)\.(?i:jpe?g|png)"
_STEM = r"COCO_(?:train|val|test)[0-9]{4}_(?P<stem>[0-9]+)"
_ID = f"^(?:{_NUMBER}|{_FILE}|{_STEM})$"
_EXPONENT = re.compile(r"[0-9]+(\.[0-9]*)?[eE]\+?[0-9]{1,3}")


class NoImageIdError(ValueError):
    """A cell holds no image id.

    Args:
        row: Row of the cell, from 0.
        cell: Content of the cell.
    """

    def __init__(self, row: int, cell: str) -> None:
        super().__init__(f"{RULE}, got {cell!r}")
        self.row = row


def plain_id(digits: str) -> str:
    """Return an id without leading zeros."""
    return digits.lstrip("0") or "0"


def image_ids(cells: pa.Array) -> pa.Array:
    """Return the ids of a column of cells, (N,) large strings without leading zeros; null for empty cells.

    A cell is an integer, a float of whole value (pandas makes floats of a column with gaps), or an MSCOCO
    file name, with or without a path.

    Args:
        cells: (N,) integers, floats or text.

    Raises:
        NoImageIdError: A cell holds no image id.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(cells.type):
        cells = pc.if_else(pc.is_nan(cells), None, cells)
    texts = pc.utf8_trim_whitespace(cells.cast(pa.large_string()))
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    parts = pc.extract_regex(texts, _ID)
    digits = pc.max_element_wise(*(pc.struct_field(parts, name) for name in ("number", "file", "stem")))
    digits = pc.if_else(pc.is_null(parts), _whole_floats(texts, parts), digits)
    stripped = pc.utf8_ltrim(digits, "0")
    return pc.if_else(pc.equal(stripped, ""), "0", stripped)


def _whole_floats(texts: pa.Array, parts: pa.Array) -> pa.Array:
    """Return the digits of cells in another notation, such as ``4.36508e+05``; else null."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    digits: list[str | None] = [None] * len(texts)
    left = pc.and_(pc.is_null(parts), pc.is_valid(texts))
    for row in np.flatnonzero(np.asarray(left)).tolist():
        cell = texts[row].as_py()
        number = Decimal(cell) if _EXPONENT.fullmatch(cell) else None
        if number is None or number != number.to_integral_value():
            raise NoImageIdError(row, cell)
        digits[row] = str(int(number))
    return pa.array(digits, pa.large_string())
