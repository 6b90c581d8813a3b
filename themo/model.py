"""The Python interface to a trained student: vectors of Spanish texts and images in one space.

Shape suffixes: N texts or images, M others, D dimensions of the space.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
import numpy.typing as npt
import torch

from themo.checkpoints.version_teacher import VersionTeacher
from themo.checkpoints.versions import Identity, find_cache, identity_of, load_part, read_settings
from themo.config.settings import Settings
from themo.errors import InputError
from themo.evaluation.metrics import unit
from themo.files.cache import Cache
from themo.models.arguments import refuse_dimensions, refuse_texts, require_list
from themo.models.axes import read_axes, shorten
from themo.models.runtimes.choice import PACKAGES, Chosen, Runtime, refuse_runtime
from themo.models.runtimes.encoder import TextEncoder, open_encoder
from themo.models.static_table import StaticTable, load_table
from themo.models.student import ENCODE_BATCH
from themo.models.table_folders import is_table
from themo.process.devices import resolve_device

if TYPE_CHECKING:
    from PIL import Image

    from themo.models.teacher import Teacher

    Picture = str | os.PathLike[str] | Image.Image

Vectors = npt.NDArray[np.float32]
"""(N, D)."""
Vector = npt.NDArray[np.float32]
"""(D,)."""


def load(
    version: str | os.PathLike[str],
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    runtime: Runtime = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
) -> Model:
    """Load the student of a version directory, or a static table that ``export --format static`` wrote.

    The teacher is loaded only if needed: for images, and once for the text projection of a student of text
    states, which is then cached. A version directory may be moved.

    Args:
        version: Folder of a static table, or version directory, such as ``logs/miniature/version_3`` or
            ``logs/tune/NAME/best``.
        device: Device of the models; ``"auto"``: a GPU if there is one.
        runtime: Library that encodes texts: ``"torch"``, ``"onnx"`` (ONNX Runtime, float32) or
            ``"openvino"`` (bfloat16 where the CPU has units for it), the last two on the CPU alone. Their
            graph is built at the first load and kept in the cache. ``"auto"``: the fastest that is installed,
            PyTorch on a GPU and for students of less than 80 MB. A static table uses no runtime.
        cache_dir: Folder of the cache. None: `paths.cache_dir` of the version's settings, relative to the
            working directory, or else to the nearest folder above the version that contains it.

    Raises:
        InputError: The folder is not a version directory or is damaged, the device is missing, or the runtime
            is not installed or does not support the student.
    """
    folder = Path(version)
    refuse_runtime(runtime, device)
    where = resolve_device("cpu" if runtime in PACKAGES else device)
    settings = read_settings(folder)
    cache = Path(cache_dir) if cache_dir is not None else find_cache(settings, folder)
    settings = settings.override({"cache_dir": str(cache)})
    if is_table(folder):
        return Model(folder, settings, load_table(folder))

    def read(student: Path) -> tuple[TextEncoder, Identity | None, torch.Tensor | None]:
        encoder = open_encoder(student, runtime, where, Cache(cache.absolute()))
        return encoder, identity_of(student), read_axes(student)

    return Model(folder, settings, *load_part(folder, "student", read))


class Model:
    """A student or a static table, with its teacher for images and the text projection.

    Build one with `load`.

    Attributes:
        version: The version directory.
        settings: The version's settings; `paths.cache_dir` is the cache in use.
        student: Identity of the student's folder as it was read; None: a static table.
        axes: Principal axes of a student trained with nested widths, (D, D); None: no nested widths.
            ``image @ axes[:, :32]`` is the short vector of an image vector in the teacher's space.
    """

    def __init__(
        self,
        version: Path,
        settings: Settings,
        encoder: TextEncoder | StaticTable,
        student: Identity | None = None,
        axes: torch.Tensor | None = None,
    ) -> None:
        self.version = version
        self.settings = settings
        self.student = student
        self.axes: Vectors | None = None if axes is None else axes.numpy()
        self._encoder = encoder
        self._process = os.getpid()

    def __repr__(self) -> str:
        runtime = "" if self.runtime in (None, "torch") else f" by {self.runtime}"
        return f"<themo.Model {str(self.version)!r} on {self.device}{runtime}>"

    @property
    def runtime(self) -> Chosen | None:
        """Runtime that computes the vectors of texts; None: a static table."""
        return self._encoder.runtime if isinstance(self._encoder, TextEncoder) else None

    @property
    def dimension(self) -> int:
        """Length D of a vector; a student of text states takes it from the teacher's projection."""
        mapping = self._to_image_space
        return self._encoder.dimension if mapping is None else mapping.shape[1]

    @property
    def max_length(self) -> int:
        """Greatest length of a text, in tokens with the special ones; longer texts are cut.

        A static table reads whole texts, up to `themo.models.phrases.LONGEST_TEXT` characters.
        """
        return self._encoder.max_length

    @property
    def device(self) -> torch.device:
        """Device of the student."""
        return self._encoder.device

    @overload
    def encode(
        self, texts: str, *, batch_size: int = ..., normalize: bool = ..., dimensions: int | None = ...
    ) -> Vector: ...
    @overload
    def encode(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = ...,
        normalize: bool = ...,
        dimensions: int | None = ...,
    ) -> Vectors: ...
    def encode(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = ENCODE_BATCH,
        normalize: bool = False,
        dimensions: int | None = None,
    ) -> Vector | Vectors:
        """Vectors of Spanish texts in the teacher's image space.

        Tokens of a text beyond `max_length` are ignored; `count_tokens` counts them. A student trained on the
        user's vectors (``--targets``) returns vectors in their space. In a forked process it computes on one
        thread.

        Args:
            texts: N texts, or one.
            batch_size: Texts per batch, 1 or more; texts are sorted by length first.
            normalize: Scale every vector to length 1.
            dimensions: Length of shortened vectors, along the principal axes of a student trained with
                `nested_widths`; compare them with images of equal `dimensions`. None: full vectors.

        Returns:
            (N, D) float32, in the order of `texts`; (D,) for a single text. `dimensions` replaces D.

        Raises:
            InputError: `texts` is neither a text nor a list of texts, `dimensions` is above D or the student
                has no nested widths, the text projection's teacher cannot be loaded, or the model is on a GPU
                and this process was forked after it was loaded.
        """
        if isinstance(texts, str):
            vector: Vector = self.encode(
                [texts], batch_size=batch_size, normalize=normalize, dimensions=dimensions
            )[0]
            return vector
        refuse_texts(texts)
        self._refuse_fork()
        refuse_dimensions(dimensions, self.axes, self.version)
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be 1 or more, got {batch_size}")
        vectors_ND = self._encoder.encode(texts, batch_size)
        mapping = self._to_image_space
        if mapping is not None:
            vectors_ND = vectors_ND @ mapping[:-1] + mapping[-1]
        vectors_ND = self._shortened(vectors_ND, dimensions)
        return (unit(vectors_ND) if normalize else vectors_ND).numpy()

    @overload
    def encode_images(
        self, images: Picture, *, workers: int = ..., dimensions: int | None = ...
    ) -> Vector: ...
    @overload
    def encode_images(
        self, images: Sequence[Picture], *, workers: int = ..., dimensions: int | None = ...
    ) -> Vectors: ...
    def encode_images(
        self, images: Picture | Sequence[Picture], *, workers: int = 0, dimensions: int | None = None
    ) -> Vector | Vectors:
        """Vectors of images by the teacher's image tower.

        EXIF orientation is ignored, as in CLIP's own preprocessing: rotate such pictures first
        (``PIL.ImageOps.exif_transpose``).

        Args:
            images: N files or Pillow images, or a single one.
            workers: Processes that decode images; 0: the current process. With 1 or more, a script needs the
                guard ``if __name__ == "__main__":``, since every process imports the script.
            dimensions: Length of shortened vectors, as in `encode`. None: full vectors.

        Returns:
            (N, D) float32 of length 1, in the order of `images`; (D,) for a single image.

        Raises:
            InputError: The student was trained on the user's vectors, which have no image tower; the teacher
                cannot be loaded; an image is damaged; or `dimensions` is invalid, as in `encode`.
        """
        from PIL import Image

        if isinstance(images, str | os.PathLike | Image.Image):
            vector: Vector = self.encode_images([images], workers=workers, dimensions=dimensions)[0]
            return vector
        require_list(images, "images", (str, os.PathLike, Image.Image))
        self._refuse_fork()
        refuse_dimensions(dimensions, self.axes, self.version)
        teacher = self.teacher
        pictures = [image if isinstance(image, Image.Image) else Path(image) for image in images]
        vectors_ND = teacher.encode_images(pictures, workers)
        if dimensions is not None:
            vectors_ND = unit(self._shortened(vectors_ND, dimensions))
        return vectors_ND.numpy()

    def similarity(self, first: npt.ArrayLike, second: npt.ArrayLike) -> Vectors:
        """Return the (N, M) float32 cosines of (N, D) and (M, D) vectors of any length.

        One vector (D,) counts as a set of one, (1, D).

        Raises:
            InputError: The shapes disagree.
        """
        # copies: torch takes no negative strides, and warns of read-only arrays
        first_ND, second_MD = (np.array(v, np.float32, order="C", ndmin=2) for v in (first, second))
        if first_ND.ndim != 2 or second_MD.ndim != 2 or first_ND.shape[1] != second_MD.shape[1]:
            raise InputError(f"vectors must be (N, D) and (M, D), got {first_ND.shape} and {second_MD.shape}")
        return (unit(torch.from_numpy(first_ND)) @ unit(torch.from_numpy(second_MD)).T).numpy()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text, special ones included, up to `themo.config.sections.MAX_TOKENS`.

        Raises:
            InputError: `texts` is no list of texts.
        """
        refuse_texts(texts)
        return self._encoder.count_tokens(texts)

    def reads(self, texts: Sequence[str]) -> list[bool]:
        """Return, for each text, whether its tokens include no unknown token.

        Raises:
            InputError: `texts` is no list of texts.
        """
        refuse_texts(texts)
        return self._encoder.knows(texts)

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, loaded on first use.

        Raises:
            InputError: The version has no teacher, or it cannot be loaded.
        """
        return self._of_teacher.load(str(self.device))

    @cached_property
    def teacher_fingerprint(self) -> str:
        """Return the cache key of the teacher's vectors, without loading the teacher.

        Raises:
            InputError: The version has no teacher.
        """
        return self._of_teacher.fingerprint

    def _shortened(self, vectors_ND: torch.Tensor, dimensions: int | None) -> torch.Tensor:
        if dimensions is None or self.axes is None:
            return vectors_ND
        return shorten(vectors_ND, torch.from_numpy(self.axes), dimensions)

    def _refuse_fork(self) -> None:
        if self.device.type == "cuda" and os.getpid() != self._process:
            raise InputError(
                "a model on a GPU cannot be used in a forked process: "
                "load it on the CPU, or start the process by spawn"
            )

    @property
    def _of_teacher(self) -> VersionTeacher:
        return VersionTeacher(self.version, self.settings, self._encoder.dimension)

    @cached_property
    def _to_image_space(self) -> torch.Tensor | None:
        """The affine map from the student's vectors to image space, bias last; None: the identity."""
        return self._of_teacher.to_image_space(lambda: self.teacher)
