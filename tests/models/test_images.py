import io
import os
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from themo.errors import InputError
from themo.models.image_files import UnreadableError, open_rgb
from themo.models.images import TASKS_AHEAD, load_batches, load_images


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def picture(size: int = 24) -> Image.Image:
    y, x = np.mgrid[0:size, 0:size]
    return Image.fromarray(np.stack([x * 8 % 256, y * 8 % 256, x * y % 256], axis=-1).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> list[Path]:
    """Twelve 8 x 8 images, image i of grey value 20 i."""
    paths = [tmp_path / f"{i:02d}.png" for i in range(12)]
    for i, path in enumerate(paths):
        Image.new("RGB", (8, 8), (20 * i,) * 3).save(path)
    return paths


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("RGB", (10, 20, 30), "png", (10, 20, 30)),
        ("L", 77, "png", (77, 77, 77)),
        ("1", 1, "png", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "tif", (255, 0, 0)),
        ("I;16", 40_000, "png", (156, 156, 156)),  # the high byte, not clipped to white
        ("RGBA", (10, 20, 30, 255), "png", (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), "png", (255, 255, 255)),  # what is transparent lies on white
        ("LA", (0, 0), "png", (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, mode: str, colour: float | tuple[int, ...], suffix: str, expected: tuple[int, int, int]
) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.new(mode, (5, 4), colour).save(path)
    image = open_rgb(path)
    assert (image.mode, image.size) == ("RGB", (5, 4))
    assert image.getpixel((2, 2)) == expected


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((255, 128, 128), (255, 255, 255)), ((0, 128, 128), (0, 0, 0)), ((137, 208, 195), (255, 0, 0))],
)
def test_lab_colours_become_rgb(
    tmp_path: Path, colour: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    """Lightness, and two axes with their zero at 128."""
    Image.new("LAB", (5, 4), colour).save(tmp_path / "image.tif")
    pixel = np.asarray(open_rgb(tmp_path / "image.tif"))[2, 2].astype(int)
    assert abs(pixel - expected).max() <= 12  # of 8 bits a channel, and profiles


def test_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "image.png", transparency=1)
    decoded = open_rgb(tmp_path / "image.png")
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]


def test_cmyk_jpeg_as_imagenet_has_them(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "image.JPEG")
    red, green, blue = np.asarray(open_rgb(tmp_path / "image.JPEG"))[8, 8]
    assert (red > 250, green < 5, blue < 5) == (True, True, True)


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "png.JPEG").write_bytes(encoded(picture(), "PNG"))
    assert np.array_equal(np.asarray(open_rgb(tmp_path / "png.JPEG")), np.asarray(picture()))


def test_missing_foreign_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg: cannot read the image: No such file or directory"):
        open_rgb(tmp_path / "gone.jpg")
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    with pytest.raises(InputError, match=r"page\.jpg: must be an image \(JPEG, PNG, .*\), got other content"):
        open_rgb(tmp_path / "page.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(InputError, match=r"empty\.jpg: must be an image"):
        open_rgb(tmp_path / "empty.jpg")
    with pytest.raises(InputError, match=f"{tmp_path.name}: cannot read the image: Is a directory"):
        open_rgb(tmp_path)


def test_postscript_is_not_executed(tmp_path: Path) -> None:
    (tmp_path / "drawing.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.raises(InputError, match="must be an image"):
        open_rgb(tmp_path / "drawing.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_truncated_image_is_refused(tmp_path: Path, kind: str) -> None:
    whole = encoded(picture(64), kind)
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut: cannot read the image: .*truncated"):
        open_rgb(tmp_path / "cut")


DAMAGED = {kind: encoded(picture(), kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(DAMAGED)), st.floats(0, 1), st.floats(0, 1), st.integers(0, 255))
# Pillow warns of damaged metadata before it decides; the warning is not what is tested.
@pytest.mark.filterwarnings("ignore")
def test_damage_gives_a_picture_or_one_clear_line(
    tmp_path_factory: pytest.TempPathFactory, kind: str, cut: float, where: float, value: int
) -> None:
    content = bytearray(DAMAGED[kind][: int(cut * len(DAMAGED[kind])) + 1])
    content[int(where * (len(content) - 1))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.jpg"
    path.write_bytes(content)
    refusal = f"{path}: "
    try:
        assert open_rgb(path).mode == "RGB"
    except InputError as error:
        refusal = str(error)
    assert refusal.startswith(f"{path}: ")
    assert "\n" not in refusal


WORKERS = [0, pytest.param(2, marks=pytest.mark.slow), None]


@pytest.mark.parametrize("workers", WORKERS)
def test_batches_keep_the_order(folder: list[Path], workers: int | None) -> None:
    batches = list(load_batches(folder, to_tensor, batch_size=5, workers=workers))
    assert [tuple(batch.shape) for batch in batches] == [(5, 3, 8, 8), (5, 3, 8, 8), (2, 3, 8, 8)]
    assert torch.cat(batches)[:, 0, 0, 0].mul(255).round().tolist() == [20.0 * i for i in range(12)]


def test_no_images_no_batches() -> None:
    assert list(load_batches([], to_tensor, batch_size=5)) == []
    assert list(load_batches([], to_tensor, batch_size=5, workers=0)) == []


@pytest.mark.parametrize("workers", WORKERS[:2])
def test_a_broken_image_among_good_ones_is_named(folder: list[Path], workers: int) -> None:
    folder[7].write_bytes(folder[7].read_bytes()[:-28])
    batches = load_batches(folder, to_tensor, batch_size=5, workers=workers)
    with pytest.raises(InputError, match=r"07\.png: cannot read the image"):
        list(batches)


@pytest.mark.slow
def test_processes_end_and_memory_is_bounded(folder: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = folder * 40  # 480 images: 60 tasks
    submit, tasks = ProcessPoolExecutor.submit, []

    def counted(pool: ProcessPoolExecutor, *task: Any) -> Future[Any]:
        tasks.append(task)
        return submit(pool, *task)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", counted)
    batches = load_batches(paths, to_tensor, batch_size=2, workers=2)
    next(batches)
    assert active_children()
    assert len(tasks) == 2 * TASKS_AHEAD + 1  # of those only, ready images may wait
    folder[-1].write_bytes(b"broken")
    with pytest.raises(InputError, match=f"{folder[-1].name}: must be an image"):
        list(batches)
    assert not active_children()


@pytest.mark.slow
def test_processes_do_not_outlive_a_caller_that_is_killed(folder: list[Path]) -> None:
    script = f"""
import time
from multiprocessing import active_children
from pathlib import Path
from test_images import to_tensor
from themo.models.images import load_batches
if __name__ == "__main__":
    batches = load_batches([Path({str(folder[0])!r})] * 4000, to_tensor, 2, workers=1)
    next(batches)
    print(active_children()[0].pid, flush=True)
    time.sleep(600)
"""
    path = folder[0].parent / "caller.py"
    path.write_text(script)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as caller:
        assert caller.stdout is not None
        worker = int(caller.stdout.readline())
        os.kill(worker, 0)
        caller.kill()
    for _ in range(300):
        if not Path(f"/proc/{worker}/stat").exists() or " Z " in Path(f"/proc/{worker}/stat").read_text():
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the decoding process is still there")


@pytest.mark.slow
def test_processes_start_where_they_pay(folder: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = folder * 4
    in_caller = load_batches(paths, to_tensor, batch_size=40)
    next(in_caller)
    assert not active_children(), "48 tiny images are decoded at once"
    monkeypatch.setattr("themo.models.images.WORTH_SECONDS", 0.0)
    batches = load_batches(paths, to_tensor, batch_size=40)
    first = next(batches)
    assert active_children()
    assert torch.equal(
        torch.cat([first, *batches]), torch.cat(list(load_batches(paths, to_tensor, 40, workers=0)))
    )


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_non_image_is_reported_in_its_place(folder: list[Path], workers: int) -> None:
    folder[7].write_bytes(folder[7].read_bytes()[:-28])
    images = list(load_images(folder, to_tensor, workers))
    assert [i for i, image in enumerate(images) if isinstance(image, InputError)] == [7]
    assert "07.png: cannot read the image" in str(images[7])


def test_one_picture_that_lacks_memory_or_breaks_ends_no_others(folder: list[Path]) -> None:
    raised = iter([MemoryError(), OSError("broken data stream"), ValueError("bad size"), ZeroDivisionError()])

    def transform(image: Image.Image) -> torch.Tensor:
        if image.getpixel((0, 0)) in [(20 * i,) * 3 for i in (1, 4, 5, 9)]:
            raise next(raised)
        return to_tensor(image)

    images = list(load_images(folder, transform, workers=0))
    errors = {i: image for i, image in enumerate(images) if isinstance(image, InputError)}
    assert {i: str(error).partition(": ")[2] for i, error in errors.items()} == {
        1: "cannot read the image: not enough memory",
        4: "cannot read the image: broken data stream",
        5: "cannot read the image: bad size",
        9: "cannot read the image: ZeroDivisionError",
    }
    # a lack of memory says nothing of the file: it is looked at again another time
    assert [isinstance(error, UnreadableError) for error in errors.values()] == [True, False, False, False]


@pytest.mark.parametrize("error", [SyntaxError, RuntimeError, EOFError, struct.error])
def test_a_damaged_open_picture_is_reported_in_its_place(error: type[Exception]) -> None:
    """Pillow decodes an open picture when its pixels are first used; damaged AVIF files raise such errors."""

    class Damaged(Image.Image):
        def load(self) -> Any:
            raise error("broken data")

    damaged = Damaged()
    damaged._mode, damaged._size = "RGB", (4, 4)
    good = picture()
    first, second = load_images([damaged, good], to_tensor, workers=0)
    assert str(first) == "picture in memory: cannot read the image: broken data"
    assert isinstance(second, torch.Tensor)


def test_batch_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="`batch_size` must be 1 or more, got 0"):
        next(load_batches([], to_tensor, batch_size=0))
