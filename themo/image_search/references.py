"""Reference texts of a student, of common subjects of pictures, as vectors in image space."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from themo.checkpoints.versions import Identity, identity_of, load_part
from themo.config.presets import MINIATURE
from themo.config.settings import Settings
from themo.data.sources import Sources, miniature_is_built
from themo.data.text_lines import read_lines
from themo.files.cache import Cache
from themo.image_search.pieces import Vectors
from themo.image_search.subjects import subject_texts
from themo.process.progress import waiting

if TYPE_CHECKING:
    from themo.model import Model

_FORM = 1
"""Version of the cached entry."""


@dataclass(frozen=True)
class References:
    """Reference texts that a student can read.

    Attributes:
        vectors_RE: (R, E) float32 of length 1; the texts of a subject are averaged.
        logit_scale: Factor of the teacher's cosines in its softmax.
    """

    vectors_RE: Vectors
    logit_scale: float


def load_references(model: Model) -> References:
    """Return a student's reference texts, from the cache if they were encoded before.

    The first call for a student loads the teacher, for its logit scale.

    Raises:
        InputError: The cache cannot be written, or the teacher cannot be loaded.
    """
    subjects = reference_texts(model.settings)

    def build(folder: Path) -> None:
        with waiting("Encoding the reference texts"):
            np.save(folder / "vectors.npy", _encode(model, subjects))
            scale = json.dumps({"logit_scale": model.teacher.logit_scale})
            (folder / "scale.json").write_text(scale, encoding="utf-8")

    key = {
        "form": _FORM,
        "student": _identity(model),
        "teacher": model.teacher_fingerprint,
        "texts": subjects,
    }
    entry = Cache(Path(model.settings.paths.cache_dir)).entry("references", key, build)
    scale = json.loads((entry / "scale.json").read_text(encoding="utf-8"))["logit_scale"]
    return References(np.load(entry / "vectors.npy", allow_pickle=False), scale)


def reference_texts(settings: Settings) -> list[tuple[str, ...]]:
    """Return the texts of each subject: the class prompts of the settings if present, else general texts.

    Raises:
        InputError: The file of prompts is damaged.
    """
    name = settings.benchmarks.prompts
    if name is None or (name.startswith(MINIATURE) and not miniature_is_built(settings)):
        return subject_texts()
    path = Path(Sources(settings).resolve(name))
    return _class_prompts(path, settings.benchmarks.language) if path.is_file() else subject_texts()


def _class_prompts(path: Path, language: str) -> list[tuple[str, ...]]:
    """Return the prompts of each class of a TSV ``synset, en, es``; without the language, general texts."""
    header, *rows = (line.split("\t") for line in read_lines(path))
    if language not in header:
        return subject_texts()
    column = header.index(language)
    prompts: dict[str, list[str]] = {}
    for cells in rows:
        if len(cells) == len(header):
            prompts.setdefault(cells[0], []).append(cells[column].strip())
    return [tuple(texts) for texts in prompts.values()]


def _encode(model: Model, subjects: Sequence[Sequence[str]]) -> Vectors:
    """Return one vector for each subject whose texts the student's tokenizer knows."""
    flat = [text for texts in subjects for text in texts]
    known = iter(model.reads(flat))
    readable = [[text for text in texts if next(known)] for texts in subjects]
    readable = [texts for texts in readable if texts]
    if not readable:
        return np.empty((0, model.dimension), np.float32)
    vectors = model.encode([text for texts in readable for text in texts], normalize=True)
    ends = np.cumsum([len(texts) for texts in readable])
    means = np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])
    unit: Vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


def _identity(model: Model) -> list[list[object]]:
    """Return what changes when the student or static table changes."""
    if model.student is None:  # a static table, whose folder no training replaces
        return _stamps(model.version)
    return load_part(model.version, "student", partial(_stamps_if_read, read=model.student))


def _stamps_if_read(folder: Path, read: Identity) -> list[list[object]]:
    """Return the stamps of a student's files.

    Args:
        folder: Folder of the student.
        read: Identity of the folder that the model was read from. If a training has replaced it since, its
            identity is returned: the vectors are not those of the files.
    """
    return _stamps(folder) if read == identity_of(folder) else [[str(folder.absolute()), *read]]


def _stamps(folder: Path) -> list[list[object]]:
    """Return name, size and time of change of each file; digests would read the whole student each time."""
    files = [(path, path.stat()) for path in sorted(folder.iterdir())]
    return [[str(path.absolute()), status.st_size, status.st_mtime_ns] for path, status in files]
