#!/usr/bin/env bash
# Pillow 13.0.0: a TIFF whose zero is white is inverted when read at 8 bits, but not at 16 bits or as floats.
#
# Expected: PhotometricInterpretation 0 (WhiteIsZero, TIFF 6.0 page 37) means the same at every depth.
# Behaviour: Pillow inverts the levels of the 8-bit picture and reads the 16-bit and the float picture as stored, so
#   the same picture is read as its negative. The picture's mode does not show this.
# Seen: "8 bits: stored 0, read 255", "16 bits: stored 0, read 0", "floats: stored 0, read 0.0".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.3.4
cat > "$folder/try.py" <<'PYTHON'
import struct
import sys
from io import BytesIO

import numpy as np
from PIL import Image


def tiff(pixels: np.ndarray, sample_format: int) -> bytes:
    """A plain little-endian TIFF of one strip, in which zero is white."""
    tags = {
        256: pixels.shape[1], 257: pixels.shape[0], 258: pixels.itemsize * 8, 259: 1, 262: 0,
        273: 8 + 2 + 10 * 12 + 4, 277: 1, 278: pixels.shape[0], 279: pixels.nbytes, 339: sample_format,
    }
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + pixels.tobytes()


read = []
for name, dtype, sample_format in (("8 bits", "u1", 1), ("16 bits", "<u2", 1), ("floats", "<f4", 3)):
    with Image.open(BytesIO(tiff(np.zeros((2, 2), dtype), sample_format))) as picture:
        read.append(picture.getpixel((0, 0)))
    print(f"{name}: stored 0, read {read[-1]}")
sys.exit(int(read != [255, 0, 0.0]))
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
