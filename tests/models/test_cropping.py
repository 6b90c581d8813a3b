from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from open_clip.transform import image_transform
from PIL import Image

from themo.models.cropping import CropFirst, crop_first

SIDES = st.floats(0, np.log(1200)).map(lambda x: round(np.exp(x)))
PLAIN: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


def noise(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(width * height)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("output", [224, 31, (224, 168), (50, 168)])
@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.sampled_from(["bicubic", "bilinear"]))
@example(200, 333, "bicubic")  # tall, made larger
@example(300, 1000, "bicubic")  # tall, made smaller: Pillow 13 resizes vertically first
@example(1000, 300, "bicubic")
@example(31, 5000, "bicubic")
@example(5000, 31, "bilinear")
@example(224, 224, "bicubic")
@example(1, 1, "bicubic")
def test_a_picture_is_that_of_resize_and_crop(output: Any, width: int, height: int, filter_: str) -> None:
    assume(max(width, height) <= 200 * min(width, height))  # or the plain one needs gigabytes
    plain = image_transform(output, is_train=False, interpolation=filter_, **PLAIN)
    cropped = crop_first(plain)
    assert isinstance(cropped, CropFirst)
    image = noise(width, height)
    difference = (plain(image) - cropped(image)).abs() * 255
    # levels of 8 bits: a rounding of the first pass, which bicubic weights of the second one may double
    assert difference.max() < 2.01
    assert (difference > 0.5).float().mean() < 0.05


@pytest.mark.parametrize("mode", ["squash", "longest"])
def test_transforms_that_do_not_crop_are_left_as_they_are(mode: str) -> None:
    plain = image_transform(224, is_train=False, resize_mode=mode)
    assert crop_first(plain) is plain


def test_a_transform_of_someone_else_is_left_as_it_is() -> None:
    def own(_: Image.Image) -> torch.Tensor:
        return torch.zeros(3, 2, 2)

    assert crop_first(own) is own


def high_water_mark(name: str) -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells its peak memory")
@pytest.mark.parametrize("size", [(500, 4000), (4000, 500)])
def test_memory_follows_the_output_at_a_ratio_of_eight(size: tuple[int, int]) -> None:
    plain = image_transform(2000, is_train=False)
    resize, crop = plain.transforms[:2]
    cropped = crop_first(plain)
    assert isinstance(cropped, CropFirst)
    only_resized = CropFirst(cropped.resized, cropped.size, cropped.filter, lambda _: torch.zeros(1))
    image = noise(*size)

    def peak(transform: Any) -> int:
        Path("/proc/self/clear_refs").write_text("5")
        start = high_water_mark("VmRSS")
        transform(image)
        return high_water_mark("VmHWM") - start

    output = 2000 * 2000 * 4
    assert peak(only_resized) < 3 * output
    assert peak(lambda picture: crop(resize(picture))) > 7 * output  # what it was: the whole strip


def test_a_strip_of_two_pixels_needs_no_gigabytes() -> None:
    cropped = crop_first(image_transform(224, is_train=False))  # resized: 224 x 4,480,000
    for size in ((2, 40_000), (40_000, 2)):
        assert cropped(Image.new("RGB", size, "red")).shape == (3, 224, 224)
