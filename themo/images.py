"""Image files into batches of tensors."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from themo.devices import cores
from themo.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""Told by content, not by name: ImageNet holds a PNG called .JPEG. Pillow's other readers stay shut, some of
them start programs (EPS runs Ghostscript)."""

PROBED = 32
"""Images by which the time of all is estimated."""
WORTH_SECONDS = 20.0
"""Of decoding that are left: processes are started, which takes them some seconds of imports."""
IMAGES_A_TASK = 8
TASKS_AHEAD = 3
"""Tasks a process whose images may wait."""

Picture = Path | Image.Image
"""An image file, or what Pillow has opened already."""

Transform = Callable[[Image.Image], torch.Tensor]
"""RGB picture to float32 (3, H, W), the same H and W for every picture: the teacher's preprocessing."""


class UnreadableError(InputError):
    """The system does not give the file: it may do so another time, and nothing is known of its content."""


def open_rgb(path: Path) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    Grey, palette and CMYK pictures are converted; 16-bit grey keeps its high byte; what is transparent is
    laid on white, as on a web page. EXIF orientation is ignored, as in CLIP's own preprocessing; see
    `upright`. Of an animation the first frame counts.

    Args:
        path: File in one of `FORMATS`.

    Returns:
        Picture of mode "RGB", wholly in memory; the file is closed.

    Raises:
        InputError: If the file is truncated, no image or absurdly large.
        UnreadableError: If it is missing, or may not or cannot be read.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            return to_rgb(image)
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: must be an image ({', '.join(FORMATS)}), its content is none of these"
        ) from None
    except OSError as error:
        kind = InputError if error.errno is None else UnreadableError  # Pillow's own have no number
        raise kind(f"{path}: cannot read the image: {error.strerror or error}") from None
    # Pillow's decoders let all of these through on damaged files (found by cutting and flipping bytes).
    except (Image.DecompressionBombError, SyntaxError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: cannot read the image: {error}") from None
    except (ArithmeticError, EOFError, MemoryError, struct.error, zlib.error) as error:
        raise InputError(f"{path}: cannot read the image: {error or type(error).__name__}") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture as 8-bit RGB, in the manner of `open_rgb`."""
    if image.mode.startswith("I;16"):
        # Pillow would clip at 255 and make nearly every pixel white.
        return image.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def upright(image: Image.Image) -> Image.Image:
    """A picture turned as its EXIF orientation says; as it is where that cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow has many errors for EXIF that is none
        return image


@dataclass(frozen=True)
class Upright:
    """A transform that looks at pictures as people do: those of a telephone may be stored on their side."""

    transform: Transform

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Of an RGB picture that still holds its EXIF data: float32 (3, H, W)."""
        return self.transform(upright(image))


def load_batches(
    pictures: Sequence[Picture], transform: Transform, batch_size: int, workers: int | None = None
) -> Iterator[torch.Tensor]:
    """Decode and transform images into batches, in their order.

    Args:
        pictures: Image files or pictures.
        transform: See `Transform`.
        batch_size: Images a batch, 1 or more; the last batch may be smaller.
        workers: As of `load_images`.

    Yields:
        float32 (B, 3, H, W).

    Raises:
        InputError: If a file cannot be decoded (see `open_rgb`), when the turn of its batch comes.
        ValueError: If `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be 1 or more, got {batch_size}")
    with closing(load_images(pictures, transform, workers)) as images:
        while batch := list(islice(images, batch_size)):
            for image in batch:
                if isinstance(image, InputError):
                    raise image
            yield torch.stack(batch)  # type: ignore[arg-type]  # no errors are left


def load_images(
    pictures: Sequence[Picture], transform: Transform, workers: int | None = None
) -> Generator[torch.Tensor | InputError, None, None]:
    """Decode and transform images, in their order; what is none becomes the error that says so.

    A few tasks a process wait ready at most, so memory does not depend on the number of images.

    Args:
        pictures: Image files or pictures.
        transform: See `Transform`; pickled for the processes.
        workers: Decoding processes; 0: the caller's own decodes. None: one a core, where the time that the
            first images take shows that it is worth starting them.

    Yields:
        float32 (3, H, W), or why there is none (see `open_rgb`).
    """
    if workers is None:
        start = time.perf_counter()
        first = [_load(picture, transform) for picture in pictures[:PROBED]]
        seconds = (time.perf_counter() - start) * (len(pictures) / PROBED - 1)
        yield from first
        pictures, workers = pictures[PROBED:], cores() if seconds > WORTH_SECONDS else 0
    if workers == 0:
        yield from (_load(picture, transform) for picture in pictures)
    else:
        yield from _load_in_processes(pictures, transform, workers)


def _load(picture: Picture, transform: Transform) -> torch.Tensor | InputError:
    try:
        return transform(open_rgb(picture) if isinstance(picture, Path) else to_rgb(picture))
    except InputError as error:
        return error


def _load_in_processes(
    pictures: Sequence[Picture], transform: Transform, workers: int
) -> Iterator[torch.Tensor | InputError]:
    waiting: deque[Future[list[npt.NDArray[np.float32] | InputError]]] = deque()
    # not forked: the caller may have threads, or a GPU's context
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_decoding, (transform,))
    try:
        for start in range(0, len(pictures), IMAGES_A_TASK):
            waiting.append(pool.submit(_decode, pictures[start : start + IMAGES_A_TASK]))
            if len(waiting) > TASKS_AHEAD * workers:
                yield from map(_as_tensor, waiting.popleft().result())
        while waiting:
            yield from map(_as_tensor, waiting.popleft().result())
    finally:
        # also when the caller stops early or an image is broken: nothing is decoded in vain
        pool.shutdown(cancel_futures=True)


def _as_tensor(image: npt.NDArray[np.float32] | InputError) -> torch.Tensor | InputError:
    return image if isinstance(image, InputError) else torch.from_numpy(image)


_transform: Transform
"""Of a decoding process."""


def _start_decoding(transform: Transform) -> None:
    global _transform
    _transform = transform
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's affair
    threading.Thread(target=_leave_with_caller, daemon=True).start()


def _leave_with_caller() -> None:
    """End this process when the caller's has ended: one that was killed ends no others."""
    caller = parent_process()
    if caller is not None:
        caller.join()
        os._exit(1)


def _decode(pictures: Sequence[Picture]) -> list[npt.NDArray[np.float32] | InputError]:
    images = [_load(picture, _transform) for picture in pictures]
    # as arrays: tensors would travel through shared memory, of which containers have little
    return [image if isinstance(image, InputError) else image.numpy() for image in images]
