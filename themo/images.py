"""Image files into batches of tensors."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError

from themo.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""Told by content, not by name: ImageNet holds a PNG called .JPEG. Pillow's other readers stay shut, some of
them start programs (EPS runs Ghostscript)."""

Transform = Callable[[Image.Image], torch.Tensor]
"""RGB picture to float32 (3, H, W), the same H and W for every picture: the teacher's preprocessing."""


def open_rgb(path: Path) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    Grey, palette and CMYK pictures are converted; 16-bit grey keeps its high byte; what is transparent is
    laid on white, as on a web page. EXIF orientation is ignored, as in CLIP's own preprocessing. Of an
    animation the first frame counts.

    Args:
        path: File in one of `FORMATS`.

    Returns:
        Picture of mode "RGB", wholly in memory; the file is closed.

    Raises:
        InputError: If the file is missing, unreadable, truncated, no image or absurdly large.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            return _to_rgb(image)
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: must be an image ({', '.join(FORMATS)}), its content is none of these"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot read the image: {error.strerror or error}") from None
    # Pillow's decoders let all of these through on damaged files (found by cutting and flipping bytes).
    except (Image.DecompressionBombError, SyntaxError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: cannot read the image: {error}") from None
    except (ArithmeticError, EOFError, MemoryError, struct.error, zlib.error) as error:
        raise InputError(f"{path}: cannot read the image: {error or type(error).__name__}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow would clip at 255 and make nearly every pixel white.
        return image.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def load_batches(
    paths: Sequence[Path], transform: Transform, batch_size: int, workers: int = 0
) -> Iterator[torch.Tensor]:
    """Decode and transform images into batches, in the order of the paths.

    Workers are threads: decoding, resizing and tensor arithmetic run outside Python's lock, and no thread
    takes seconds to import torch as a process would. At most one batch and a little more waits ready, so
    memory does not depend on the number of images.

    Args:
        paths: Image files.
        transform: See `Transform`; called from several threads at once if `workers` is above 1.
        batch_size: Images a batch, 1 or more; the last batch may be smaller.
        workers: Decoding threads; 0 or 1 decodes in the caller's thread, which is best for tiny images.

    Yields:
        float32 (B, 3, H, W).

    Raises:
        InputError: If a file cannot be decoded (see `open_rgb`), when its turn comes.
        ValueError: If `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be 1 or more, got {batch_size}")

    def load(path: Path) -> torch.Tensor:
        return transform(open_rgb(path))

    images = map(load, paths) if workers <= 1 else _load_ahead(load, paths, workers, batch_size + workers)
    while batch := list(islice(images, batch_size)):
        yield torch.stack(batch)


def _load_ahead(
    load: Callable[[Path], torch.Tensor], paths: Sequence[Path], workers: int, n_ahead: int
) -> Iterator[torch.Tensor]:
    waiting: deque[Future[torch.Tensor]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for path in paths:
            waiting.append(pool.submit(load, path))
            if len(waiting) > n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Also when the caller stops early or an image is broken: nothing is decoded in vain.
        pool.shutdown(cancel_futures=True)
