"""Loading of image files into batches of tensors."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from themo.errors import InputError
from themo.models.cropping import Transform, enough_pixels
from themo.models.image_files import DECODER_ERRORS, open_rgb, to_rgb, unreadable, upright
from themo.process.devices import cores

PROBED = 32
"""Number of images for estimating the total time."""
WORTH_SECONDS = 20.0
"""Least remaining seconds of decoding for starting processes, whose imports take some seconds."""
IMAGES_A_TASK = 8
TASKS_AHEAD = 3
"""Queued tasks per process."""

Picture = Path | Image.Image
"""An image file, or an open Pillow picture."""


@dataclass(frozen=True)
class Upright:
    """A transform of upright pictures, by their EXIF orientation."""

    transform: Transform

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Transform an RGB picture with its EXIF data: float32 (3, H, W)."""
        return self.transform(upright(image))


def load_batches(
    pictures: Sequence[Picture], transform: Transform, batch_size: int, workers: int | None = None
) -> Iterator[torch.Tensor]:
    """Decode and transform images into batches, in their order.

    Args:
        pictures: Image files or pictures.
        transform: See `themo.models.cropping.Transform`.
        batch_size: Images per batch, 1 or more; the last batch may be smaller.
        workers: As in `load_images`.

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
            yield torch.stack(batch)  # type: ignore[arg-type]  # errors are raised above


def load_images(
    pictures: Sequence[Picture], transform: Transform, workers: int | None = None
) -> Generator[torch.Tensor | InputError, None, None]:
    """Decode and transform images, in their order; a damaged image becomes an error object.

    Each process has only a few queued tasks, so memory does not depend on the number of images.

    Args:
        pictures: Image files or pictures.
        transform: See `themo.models.cropping.Transform`; pickled for the processes.
        workers: Decoding processes; 0: decode in the caller's process. None: one per core, if the first
            images take long enough to make starting them worthwhile.

    Yields:
        float32 (3, H, W), or the error of an image (see `open_rgb`).
    """
    with closing(_load_all(pictures, _Load(transform), workers)) as images:
        for image in images:
            yield image if isinstance(image, InputError) else torch.from_numpy(image.pixels)


def load_identified(
    paths: Sequence[Path], transform: Transform
) -> Generator[Identified | InputError, None, None]:
    """Load images upright, with digests that identify equal pictures; else as `load_images` does.

    Large JPEGs are decoded at a half, a quarter or an eighth of their size where that is enough.
    """
    load = _Load(Upright(transform), identify=True, enough=enough_pixels(transform))
    yield from _load_all(paths, load, workers=None)


@dataclass(frozen=True)
class Identified:
    """A transformed picture with digests.

    Attributes:
        pixels: float32 (3, H, W).
        digests: uint64 (4,): a 128-bit BLAKE2b of the file's bytes, and one of the pixels.
    """

    pixels: npt.NDArray[np.float32]
    digests: npt.NDArray[np.uint64]


@dataclass(frozen=True)
class _Load:
    """Decoding and transforming of a picture, in the caller's or a decoding process.

    Attributes:
        transform: The transform.
        identify: Whether digests are computed.
        enough: Pixels of both sides that suffice (see `open_rgb`); None: the whole size.
    """

    transform: Transform
    identify: bool = False
    enough: int | None = None

    def __call__(self, picture: Picture) -> Identified | InputError:
        is_file = isinstance(picture, Path)
        name = picture if is_file else f"picture {getattr(picture, 'filename', '') or 'in memory'}"
        try:
            rgb = open_rgb(picture, self.enough) if isinstance(picture, Path) else _decoded(picture, name)
            pixels: npt.NDArray[np.float32] = self.transform(rgb).numpy()
            if not self.identify or not isinstance(picture, Path):
                return Identified(pixels, np.empty(0, np.uint64))
            with picture.open("rb") as file:
                content = hashlib.file_digest(file, _digest).digest()
        except (InputError, *TRANSFORM_ERRORS) as error:
            return unreadable(name, error)
        return Identified(pixels, np.frombuffer(content + _digest(pixels).digest(), np.uint64))


TRANSFORM_ERRORS = (OSError, MemoryError, ValueError, ArithmeticError)
"""Errors of a transform on one picture; the other pictures are still loaded."""


def _decoded(picture: Image.Image, name: object) -> Image.Image:
    """Return an open picture as RGB; Pillow decodes it when its pixels are first used.

    Raises:
        InputError: The picture is damaged.
    """
    try:
        picture.load()
        return to_rgb(picture)
    except DECODER_ERRORS as error:
        raise unreadable(name, error) from None


def _digest(content: Any = b"") -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=16)


def _load_all(
    pictures: Sequence[Picture], load: _Load, workers: int | None
) -> Generator[Identified | InputError, None, None]:
    if workers is None:
        start = time.perf_counter()
        first = [load(picture) for picture in pictures[:PROBED]]
        seconds = (time.perf_counter() - start) * (len(pictures) / PROBED - 1)
        yield from first
        pictures, workers = pictures[PROBED:], cores() if seconds > WORTH_SECONDS else 0
    if workers == 0:
        yield from map(load, pictures)
    else:
        yield from _load_in_processes(pictures, load, workers)


def _load_in_processes(
    pictures: Sequence[Picture], load: _Load, workers: int
) -> Iterator[Identified | InputError]:
    waiting: deque[Future[list[Identified | InputError]]] = deque()
    # not forked: the caller may have threads or a GPU context
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_decoding, (load,))
    try:
        for start in range(0, len(pictures), IMAGES_A_TASK):
            waiting.append(pool.submit(_decode, pictures[start : start + IMAGES_A_TASK]))
            if len(waiting) > TASKS_AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        # cancel queued tasks also if the caller stops early or an image is broken
        pool.shutdown(cancel_futures=True)


_load: _Load
"""State of a decoding process."""


def _start_decoding(load: _Load) -> None:
    global _load
    _load = load
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller handles Ctrl-C
    threading.Thread(target=_leave_with_caller, daemon=True).start()


def _leave_with_caller() -> None:
    """Exit when the caller's process has ended: a killed caller cannot end its children."""
    caller = parent_process()
    if caller is not None:
        caller.join()
        os._exit(1)


def _decode(pictures: Sequence[Picture]) -> list[Identified | InputError]:
    # arrays: tensors would use shared memory, which is small in containers
    return list(map(_load, pictures))
