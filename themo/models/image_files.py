"""Decoding of image files to 8-bit RGB pictures of Pillow, within Themo's own memory limit."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import AvifImagePlugin, Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from themo.errors import InputError
from themo.models.grey import DEEP_MODES, to_8_bits
from themo.models.raw_names import RAW_COMMAND, RAW_SUFFIXES

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
"""Formats, recognised by content: ImageNet holds a PNG called .JPEG. Pillow's other readers are disabled,
since some start programs (EPS runs Ghostscript). HEIC needs pillow-heif, RAW files need rawpy."""

MOST_BYTES = 2**30
"""Greatest size of a decoded picture at 4 bytes per pixel: 268 megapixels. Pillow's limit is 179; phones take
200."""
REDUCED_BYTES = 2**29
"""Least size of a JPEG that is decoded at a half, a quarter or an eighth of its size: 134 megapixels."""
MOST_COEFFICIENT_BYTES = 2**31
"""Greatest size of a JPEG whose scans the decoder must hold in full, at 2 bytes per sample."""

_BYTES_A_PIXEL = 4
_PNG = b"\x89PNG\r\n\x1a\n"
_UNREAD_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""Chunks of a PNG that do not affect pixels and that Pillow refuses if they are long."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)
"""Errors of Pillow's readers on other formats, on which `Image.open` also tries the next reader."""


class UnreadableError(InputError):
    """The file cannot be read now, and its content is unknown; a retry may succeed."""


def reads_heif() -> bool:
    """Whether pillow-heif, the optional extra ``pictures``, is installed."""
    return find_spec("pillow_heif") is not None


def reads_avif() -> bool:
    """Whether this Pillow was built with AVIF."""
    return AvifImagePlugin.SUPPORTED


def reads_raw() -> bool:
    """Whether rawpy, of the optional extra ``pictures``, is installed."""
    return find_spec("rawpy") is not None


HEIF_COMMAND = "pip install pillow-heif"
AVIF_COMMAND = "pip install --upgrade pillow"


def open_rgb(path: Path, enough: int | None = None) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    Grey, palette and CMYK pictures are converted, grey ones of more than 8 bits are scaled (see
    `themo.models.grey`); transparent pictures get a white background, as on a web page. EXIF orientation is
    ignored, as in CLIP's own preprocessing; see `upright`. Of an animation the first frame is read, of a RAW
    file, by its suffix, the preview. A JPEG above `REDUCED_BYTES` is decoded at a smaller size.

    Args:
        path: File in one of `FORMATS`.
        enough: Length in pixels that suffices for both sides: a JPEG is decoded at the smallest of 1, 1/2,
            1/4 and 1/8 of its size that has it. None: the whole size.

    Returns:
        Picture of mode "RGB", in memory; the file is closed.

    Raises:
        InputError: If the file is truncated, no image, larger than `MOST_BYTES`, or grey of an unknown range.
        UnreadableError: If the file is missing or unreadable, memory is short, or the package for HEIC, AVIF
            or RAW is not installed.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # Themo has its own limit
            if path.suffix.lower() in RAW_SUFFIXES:
                return _decode_raw(path, file, enough)
            return _decode(path, file, enough)
    except UnidentifiedImageError:
        raise InputError(f"{path}: must be an image ({', '.join(FORMATS)}), got other content") from None
    except (Image.DecompressionBombError, *DECODER_ERRORS) as error:
        raise unreadable(path, error) from None


DECODER_ERRORS = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError),
    *(ArithmeticError, EOFError, MemoryError, RuntimeError, struct.error, zlib.error),
)
"""Errors of decoders on damaged files (found by cutting and flipping bytes)."""


def unreadable(name: object, error: BaseException) -> InputError:
    """Return the error of a named picture for an error of its decoding."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, MemoryError):
        return UnreadableError(f"{name}: cannot read the image: not enough memory")
    if isinstance(error, OSError) and error.errno is not None:  # Pillow's errors have no number
        return UnreadableError(f"{name}: cannot read the image: {error.strerror or error}")
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(f"{name}: cannot read the image: {reason}")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture to 8-bit RGB as `open_rgb` does, with its EXIF data.

    An RGB picture is returned unchanged.

    Raises:
        ValueError: The range of its grey values is unknown.
    """
    if image.mode in DEEP_MODES:
        rgb = to_8_bits(image).convert("RGB")
    elif image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        rgb = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    else:
        return image if image.mode == "RGB" else image.convert("RGB")
    # `convert` copies the EXIF data; `fromarray` and `alpha_composite` drop them
    rgb.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return rgb


def upright(image: Image.Image) -> Image.Image:
    """Rotate a picture by its EXIF orientation; unchanged if that cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # Pillow raises many errors for damaged EXIF
        return image


def _decode(path: Path, file: IO[bytes], enough: int | None) -> Image.Image:
    try:
        return _load(path, file, enough)
    except ValueError as error:
        file.seek(0)
        if isinstance(error, InputError) or file.read(len(_PNG)) != _PNG:
            raise
    return _load(path, BytesIO(b"".join(_without_text(file))), enough)  # the text chunks may be the cause


def _decode_raw(path: Path, file: IO[bytes], enough: int | None) -> Image.Image:
    if not reads_raw():
        raise UnreadableError(f"{path}: cannot read the image: RAW needs {RAW_COMMAND!r}")
    from themo.models.raw_previews import open_preview, orient

    preview, orientation = open_preview(path, file)
    rgb = to_rgb(preview) if isinstance(preview, Image.Image) else _load(path, preview, enough)
    orient(rgb, orientation)
    return rgb


def _load(path: Path, file: IO[bytes], enough: int | None) -> Image.Image:
    image = _open(path, file)
    pixels = image.width * image.height
    if isinstance(image, JpegImageFile):
        if pixels * _BYTES_A_PIXEL > REDUCED_BYTES:
            _refuse_coefficients(path, image)
            scale = next(s for s in (2, 4, 8) if pixels * _BYTES_A_PIXEL <= REDUCED_BYTES * s * s)
            image.draft(None, (image.width // scale, image.height // scale))
        elif enough is not None:
            image.draft(None, (enough, enough))
    elif pixels * _BYTES_A_PIXEL > MOST_BYTES:
        raise _too_large(path, image, MOST_BYTES // _BYTES_A_PIXEL)
    image.load()
    rgb = to_rgb(image)
    # Pillow reads the EXIF data of a TIFF from its file, which must still be open
    return rgb.copy() if isinstance(rgb, TiffImageFile) else rgb


def _open(path: Path, file: IO[bytes]) -> ImageFile.ImageFile:
    """Open as `Image.open` does, without its limit, which is a global variable."""
    prefix = file.read(16)
    for name in FORMATS:
        if name not in Image.OPEN:
            Image.init()
        factory, accept = Image.OPEN[name]
        if name == "JPEG":
            factory = JpegImageFile  # Pillow's own factory looks for further pictures after the first
        if accept is None or accept(prefix) is True:
            try:
                file.seek(0)
                return factory(file, "")
            except _NOT_THIS_FORMAT:
                continue
    brand = prefix[8:12] if prefix[4:8] == b"ftyp" else b""
    if brand in _HEIF_BRANDS:
        return _open_heif(path, file)
    if brand in (b"avif", b"avis") and not reads_avif():
        raise UnreadableError(f"{path}: cannot read the image: AVIF needs {AVIF_COMMAND!r}")
    raise UnidentifiedImageError


def _open_heif(path: Path, file: IO[bytes]) -> ImageFile.ImageFile:
    if not reads_heif():
        raise UnreadableError(f"{path}: cannot read the image: HEIC needs {HEIF_COMMAND!r}")
    from pillow_heif import HeifImageFile

    file.seek(0)
    try:
        image: ImageFile.ImageFile = HeifImageFile(file, "")
    except SyntaxError as error:
        raise ValueError(error) from None
    return image


def _too_large(path: Path, image: Image.Image, most: int) -> InputError:
    return InputError(
        f"{path}: cannot read the image: must have at most {most / 1e6:.0f} megapixels, "
        f"got {image.width:,} x {image.height:,}"
    )


def _refuse_coefficients(path: Path, image: JpegImageFile) -> None:
    """Refuse large JPEGs that are held in full before reduction: progressive, or one scan per colour."""
    factors = [horizontal * vertical for _, horizontal, vertical, _ in image.layer]
    samples_a_pixel = sum(factors) / max(factors)
    most = MOST_COEFFICIENT_BYTES / 2 / samples_a_pixel
    if image.width * image.height > most:
        raise _too_large(path, image, int(most))


def _without_text(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a PNG without its text and colour profile, which are skipped, not decompressed."""
    file.seek(len(_PNG))
    yield _PNG
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in _UNREAD_CHUNKS:
            file.seek(length + 4, 1)
        else:
            yield head + file.read(length + 4)
