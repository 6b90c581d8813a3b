"""RAW files for tests: a DNG as a camera writes it, with a sensor's samples and a JPEG preview."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

BYTE, ASCII, SHORT, LONG = 1, 2, 3, 4
_SIZE = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4}
_CODE = {BYTE: "B", SHORT: "H", LONG: "I"}
_SIDE = 64
"""Width and height of the sensor's samples."""

Field = tuple[int, int, list[int] | bytes]
"""Tag, type and values."""


def write_dng(path: Path, preview: Image.Image, orientation: int = 1) -> None:
    """Write a DNG (Adobe, "Digital Negative" 1.4): a TIFF with its samples in a second folder."""
    stream = io.BytesIO()
    preview.save(stream, "JPEG", quality=95)
    jpeg = _even(stream.getvalue())
    samples = np.full((_SIDE, _SIDE), 500, np.uint16).tobytes()
    raw: list[Field] = [
        *((254, LONG, [0]), (256, LONG, [_SIDE]), (257, LONG, [_SIDE]), (258, SHORT, [16])),
        *((259, SHORT, [1]), (262, SHORT, [32803]), (273, LONG, [8 + len(jpeg)]), (277, SHORT, [1])),
        *((278, LONG, [_SIDE]), (279, LONG, [len(samples)])),
        *((33421, SHORT, [2, 2]), (33422, BYTE, [0, 1, 1, 2])),
    ]
    raw_at = 8 + len(jpeg) + len(samples)
    raw_folder = _folder(raw, raw_at)
    main: list[Field] = [
        *((254, LONG, [1]), (256, LONG, [preview.width]), (257, LONG, [preview.height])),
        *((258, SHORT, [8, 8, 8]), (259, SHORT, [7]), (262, SHORT, [6])),
        *((271, ASCII, b"Themo\0"), (272, ASCII, b"Test\0"), (273, LONG, [8]), (274, SHORT, [orientation])),
        *((277, SHORT, [3]), (278, LONG, [preview.height]), (279, LONG, [len(jpeg)]), (330, LONG, [raw_at])),
        *((50706, BYTE, [1, 4, 0, 0]), (50708, ASCII, b"Themo Test\0")),
    ]
    main_at = raw_at + len(raw_folder)
    head = b"II*\0" + struct.pack("<I", main_at)
    path.write_bytes(head + jpeg + samples + raw_folder + _folder(main, main_at))


def _folder(fields: list[Field], offset: int) -> bytes:
    """An image file directory at an offset, followed by the values that do not fit into it."""
    out, extra = struct.pack("<H", len(fields)), b""
    extra_at = offset + 2 + 12 * len(fields) + 4
    for tag, kind, values in fields:
        data = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_CODE[kind]}", *values)
        cell = data.ljust(4, b"\0")
        if len(data) > 4:
            cell = struct.pack("<I", extra_at + len(extra))
            extra += _even(data)
        out += struct.pack("<HHI", tag, kind, len(data) // _SIZE[kind]) + cell
    return _even(out + struct.pack("<I", 0) + extra)


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)
