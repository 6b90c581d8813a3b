"""Scores a version on images: which encoders, on which test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from themo.checkpoints.version_teacher import VersionTeacher
from themo.checkpoints.versions import find_part
from themo.config.sections import BenchmarkSettings
from themo.config.settings import Settings
from themo.data.sources import Sources
from themo.data.test_sets import ENGLISH, ImageNet, Xtd10
from themo.errors import InputError, MissingInputError
from themo.evaluation.prompts import fill_templates, translate_prompts
from themo.evaluation.score_names import ACCURACY, CEILING, RETRIEVAL, STUDENT
from themo.evaluation.scores import ImageEncoder, Row, Scores, evaluate
from themo.evaluation.test_data import with_fetching_command
from themo.miniature.pictured import Pictured
from themo.models.image_vectors import image_vectors
from themo.models.marian import Translator, translations
from themo.models.mclip import MClip
from themo.models.student import load_student
from themo.models.teacher import Teacher
from themo.process.devices import resolve_device

Task = Literal["all", "retrieval", "accuracy"]
BASELINE = "mclip"
"""Multilingual-CLIP with the image tower that it was made for."""
TRANSLATED = "translated"
"""The teacher's own text tower fed a translation."""
FLOOR = "teacher_es"
"""The teacher's own text tower fed Spanish: what one has without a student."""


@dataclass(frozen=True)
class Examination:
    """Scores, and what they were made on.

    Attributes:
        benchmarks: Settings of the test sets.
        scores: Of every row.
        xtd10: The retrieval set, if it was asked.
        imagenet: The classification set, if it was asked.
        rows: What was scored.
        look: Image files to the teacher's vectors, which are not kept.
        pictured: What the retrieval set's pictures show, where they are the miniature's.
    """

    benchmarks: BenchmarkSettings
    scores: Scores
    xtd10: Xtd10 | None
    imagenet: ImageNet | None
    rows: Mapping[str, Row]
    look: ImageEncoder
    pictured: Pictured | None

    def to_dict(self) -> dict[str, Any]:
        """Give the contents of ``test.json``: those of `Scores.to_dict`, and in "benchmarks" on what."""
        return self.scores.to_dict() | {"benchmarks": self.benchmarks.model_dump(mode="json")}


def score_version(
    settings: Settings,
    version: Path | None,
    *,
    task: Task = "all",
    baseline: bool = False,
    floor: bool = False,
) -> Scores:
    """The scores of `examine`, which takes the same arguments."""
    return examine(settings, version, task=task, baseline=baseline, floor=floor).scores


def examine(
    settings: Settings,
    version: Path | None,
    *,
    task: Task = "all",
    baseline: bool = False,
    floor: bool = False,
) -> Examination:
    """Score a version's student beside the ceiling and, when asked, the baselines.

    Args:
        settings: Of the version, or of the world to test baselines in.
        version: Version directory; None: no student.
        task: Which test sets.
        baseline: Add a row for the teacher fed Spanish and, where settings name their models, for
            Multilingual-CLIP and for the teacher fed translations.
        floor: Add the row for the teacher fed Spanish, which needs no other model.

    Raises:
        InputError: The version is damaged, its student is of another teacher, or test data are missing.
    """
    sources = Sources(settings)
    xtd10, imagenet = _open_benchmarks(settings, sources, task, version)
    loaded = load_student(find_part(version, "student")) if version is not None else None
    if settings.data.targets is not None:
        if version is None:
            raise InputError(
                "test --baseline: settings must have a teacher that sees images, they have data.targets "
                f"{settings.data.targets}"
            )
        raise InputError(
            f"{version}: must have a teacher to be tested on images, but it learnt data.targets "
            f"{settings.data.targets}"
        )
    teacher = _load_teacher(settings, sources, settings.teacher.architecture, settings.teacher.pretrained)
    images = _image_encoder(sources, teacher)
    rows = {}
    if version is not None and loaded is not None:
        (student, tokenizer), target = loaded, settings.teacher.target
        of_version = VersionTeacher(version, settings, student.head.dimension)
        of_version.refuse_other_dimension(teacher.dimension(target))
        student.to(teacher.device)

        def encode(texts: Sequence[str]) -> Tensor:
            return teacher.to_image_space(student.encode(tokenizer, texts), target)

        rows[STUDENT] = Row(encode, settings.benchmarks.language, images)

    def read(texts: Sequence[str]) -> Tensor:
        return torch.from_numpy(teacher.encode_texts(texts, "embedding"))

    rows[CEILING] = Row(read, ENGLISH, images)
    if baseline:
        rows |= _baselines(settings, sources, teacher, rows[CEILING])
    if baseline or floor:
        rows[FLOOR] = Row(read, settings.benchmarks.language, images)
    pictured = sources.pictured(settings.benchmarks.captions or "") if xtd10 else None
    scores = evaluate(rows, xtd10, imagenet)
    return Examination(settings.benchmarks, scores, xtd10, imagenet, rows, teacher.encode_images, pictured)


def _baselines(settings: Settings, sources: Sources, teacher: Teacher, ceiling: Row) -> dict[str, Row]:
    config, device = settings.benchmarks, str(teacher.device)
    rows = {}
    if config.mclip is not None and config.mclip_architecture is not None:
        mclip = MClip.load(sources.resolve(config.mclip), device)
        own = _load_teacher(settings, sources, config.mclip_architecture, config.mclip_pretrained)
        if mclip.dimension != own.dimension("embedding"):
            raise InputError(
                f"benchmarks.mclip {config.mclip}: its vectors must have the "
                f"{own.dimension('embedding')} dimensions of {config.mclip_architecture}, "
                f"got {mclip.dimension}"
            )
        rows[BASELINE] = Row(mclip.encode, config.language, _image_encoder(sources, own))
    if config.translator is not None:
        name = sources.resolve(config.translator)

        def translate(texts: Sequence[str]) -> Tensor:
            load = partial(Translator.load, name, device, ENGLISH)
            return ceiling.encode(translations(sources.cache, name, texts, ENGLISH, load))

        rows[TRANSLATED] = Row(translate, config.language, ceiling.images)
    return rows


def fetch_models(settings: Settings) -> None:
    """Fetch the models that baselines and prompts ask for, by loading each once.

    Raises:
        InputError: One cannot be fetched or loaded.
    """
    sources, config = Sources(settings), settings.benchmarks
    if config.mclip is not None and config.mclip_architecture is not None:
        MClip.load(sources.resolve(config.mclip), "cpu")
        _load_teacher(settings, sources, config.mclip_architecture, config.mclip_pretrained)
    for name, target in ((config.translator, ENGLISH), (config.prompt_translator, config.language)):
        if name is not None:
            Translator.load(sources.resolve(name), "cpu", target)


def _prompts(settings: Settings, sources: Sources, imagenet: Path) -> Path:
    config = settings.benchmarks
    if config.prompts is not None:
        return sources.path(config.prompts, "benchmarks.prompts")
    if config.class_names is not None and config.templates is not None:
        return fill_templates(
            sources.cache,
            sources.path(config.class_names, "benchmarks.class_names"),
            sources.path(config.templates, "benchmarks.templates"),
        )
    translator = sources.resolve(str(config.prompt_translator))
    device = str(resolve_device(settings.training.device))
    mapping = imagenet / "LOC_synset_mapping.txt"
    return translate_prompts(sources.cache, mapping, config.language, translator, device)


def _load_teacher(settings: Settings, sources: Sources, architecture: str, pretrained: str | None) -> Teacher:
    weights = sources.resolve(pretrained) if pretrained else None
    return Teacher.load(sources.resolve(architecture), weights, str(resolve_device(settings.training.device)))


def _image_encoder(sources: Sources, teacher: Teacher) -> ImageEncoder:
    def encode(paths: Sequence[Path]) -> Tensor:
        vectors = image_vectors(sources.cache, teacher.fingerprint, paths, load=lambda: teacher)
        return torch.from_numpy(np.load(vectors, allow_pickle=False))

    return encode


def _open_benchmarks(
    settings: Settings, sources: Sources, task: Task, version: Path | None
) -> tuple[Xtd10 | None, ImageNet | None]:
    config = settings.benchmarks
    xtd10 = imagenet = None
    try:
        if config.captions and config.images and task in ("all", RETRIEVAL):
            captions = sources.path(config.captions, "benchmarks.captions")
            xtd10 = Xtd10.open(captions, sources.path(config.images, "benchmarks.images"), config.language)
        if config.imagenet and task in ("all", ACCURACY):
            folder = sources.path(config.imagenet, "benchmarks.imagenet")
            imagenet = ImageNet.open(folder, _prompts(settings, sources, folder))
    except MissingInputError as error:
        raise with_fetching_command(error, settings, version) from None
    if xtd10 is None and imagenet is None:
        raise InputError(f"benchmarks: must name test data for --task {task}, they name none")
    return xtd10, imagenet
