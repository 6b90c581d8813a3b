"""The same grey picture in all that it may be stored in."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, TiffImagePlugin

from themo.errors import InputError
from themo.models.grey import to_8_bits
from themo.models.image_files import open_rgb
from themo.models.images import load_images

LEVELS = np.array([[0, 1, 2, 60, 127], [128, 129, 200, 254, 255]], np.uint8)

STORED: dict[str, tuple[npt.NDArray[Any], dict[int, int]]] = {
    "8 bits": (LEVELS, {}),
    "16 bits": (LEVELS.astype(np.uint16) * 257, {}),
    "16 bits by a shift": (LEVELS.astype(np.uint16) << 8, {}),
    "16 bits, white is zero": (65_535 - LEVELS.astype(np.uint16) * 257, {262: 0}),
    "32 bits up to 255": (LEVELS.astype(np.int32), {}),
    "32 bits up to 65,535": (LEVELS.astype(np.int32) * 257, {}),
    "32 bits, signed": (np.round(LEVELS / 255 * (2**31 - 1)).astype(np.int32), {}),
    "32 bits, unsigned": (LEVELS.astype(np.uint32) * 0x01010101, {}),
    "floats up to 1": ((LEVELS / 255).astype(np.float32), {}),
    "floats up to 255": (LEVELS.astype(np.float32), {}),
    "floats up to 65,535": (LEVELS.astype(np.float32) * 257, {}),
    "floats, white is zero": ((1 - LEVELS / 255).astype(np.float32), {262: 0}),
}


@pytest.mark.parametrize("kind", STORED)
def test_a_picture_is_equal_in_all_file_formats(tmp_path: Path, kind: str) -> None:
    values, tags = STORED[kind]
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        directory[tag] = value
    path = tmp_path / "grey.tif"
    is_unsigned = values.dtype == np.uint32
    Image.fromarray(values.view(np.int32) if is_unsigned else values).save(path, tiffinfo=directory)
    if is_unsigned:  # which Pillow does not write: the tag of the sample format, from 2 to 1
        entry = struct.pack("<HHI", 339, 3, 1)
        content = path.read_bytes()
        assert content.count(entry + b"\2") == 1
        path.write_bytes(content.replace(entry + b"\2", entry + b"\1"))
    assert np.array_equal(np.asarray(open_rgb(path)), np.repeat(LEVELS[..., None], 3, axis=2))


@given(arrays(np.uint8, (3, 4)), st.sampled_from([np.int32, np.float32]), st.sampled_from([1, 257]))
def test_every_level_is_kept(levels: npt.NDArray[np.uint8], dtype: Any, factor: int) -> None:
    levels[0, 0] = 255  # the range shows
    image = Image.fromarray(levels.astype(dtype) * factor)
    assert np.array_equal(np.asarray(to_8_bits(image)), levels)


def test_big_endian_and_12_bits() -> None:
    big = (LEVELS.astype(np.uint16) * 257).astype(">u2")
    image = Image.frombytes("I;16B", LEVELS.shape[::-1], big.tobytes())
    assert np.array_equal(np.asarray(to_8_bits(image)), LEVELS)
    scan = Image.fromarray(LEVELS.astype(np.uint16) << 4)
    scan.tag_v2 = {258: (12,)}  # type: ignore[attr-defined]
    assert np.array_equal(np.asarray(to_8_bits(scan)), LEVELS)


def test_resampled_values_out_of_range_are_clipped() -> None:
    image = Image.fromarray(np.array([[-0.001, 0.5, 1.001]], np.float32))
    assert np.asarray(to_8_bits(image)).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([[-3, 200]], np.int32), "16,777,215, 0 and 2,147,483,647, got -3 to 200"),
        (np.array([[0, 200_000]], np.int32), "got 0 to 200,000"),
        (np.array([[-20.5, 31.0]], np.float32), "0 and 255 or 0 and 65,535, got -20.5 to 31"),
        (np.array([[0.0, 1e6]], np.float32), "got 0 to 1e+06"),
        (np.array([[0.0, np.nan]], np.float32), "got nan to nan"),
        (np.array([[0.0, np.inf]], np.float32), "got 0 to inf"),
    ],
)
def test_a_range_that_cannot_be_known_is_refused(
    tmp_path: Path, values: npt.NDArray[Any], shown: str
) -> None:
    path = tmp_path / "heights.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(InputError) as refusal:
        open_rgb(path)
    assert str(refusal.value).startswith(f"{path}: cannot read the image: grey values must lie between 0")
    assert str(refusal.value).endswith(shown)
    (from_memory,) = load_images([Image.fromarray(values)], lambda _: pytest.fail("is no picture"), workers=0)
    assert str(from_memory).startswith("picture in memory: cannot read the image: grey values")
