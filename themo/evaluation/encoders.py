"""Scoring of a version on images: the choice of encoders and test sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from themo.checkpoints.version_teacher import VersionTeacher
from themo.checkpoints.versions import Identity, identity_of, load_part
from themo.config.benchmarks import BenchmarkSettings
from themo.config.settings import Settings
from themo.data.caption_sets import CaptionSet
from themo.data.imagenet import ImageNet
from themo.data.sources import Sources
from themo.data.xtd10 import ENGLISH, Xtd10
from themo.errors import InputError, MissingInputError
from themo.evaluation.open_sets import open_caption_sets
from themo.evaluation.prompts import fill_templates, translate_prompts
from themo.evaluation.score_names import ACCURACY, CEILING, RETRIEVAL, STUDENT
from themo.evaluation.scores import Scores
from themo.evaluation.scoring import ImageEncoder, Row, evaluate
from themo.evaluation.test_data import with_fetching_command
from themo.miniature.pictured import Pictured
from themo.models.cached_teacher import CachedTeacher
from themo.models.marian import Translator, translations
from themo.models.mclip import MClip
from themo.models.static_table import load_table
from themo.models.student import load_student
from themo.models.table_folders import is_table
from themo.process.devices import Device, resolve_device

Task = Literal["all", "retrieval", "accuracy"]
BASELINE = "mclip"
"""Row of Multilingual-CLIP with its own image tower."""
TRANSLATED = "translated"
"""Row of the teacher's text tower fed translations."""
FLOOR = "teacher_es"
"""Row of the teacher's text tower fed Spanish: the floor without a student."""


@dataclass(frozen=True)
class Examination:
    """Scores, with test sets and encoders.

    Attributes:
        benchmarks: Settings of the test sets.
        scores: Scores of every row.
        xtd10: The retrieval set, if it was tested.
        imagenet: The classification set, if it was tested.
        rows: Scored encoders.
        look: Encodes image files with the teacher, without caching.
        pictured: Scenes of the retrieval set's pictures, if the set is the miniature's.
        student: Identity of the student's folder; None: no student, or a static table.
    """

    benchmarks: BenchmarkSettings
    scores: Scores
    xtd10: Xtd10 | None
    imagenet: ImageNet | None
    rows: Mapping[str, Row]
    look: ImageEncoder
    pictured: Pictured | None
    student: Identity | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the contents of ``test.json``: `Scores.to_dict` and the test sets as "benchmarks"."""
        return self.scores.to_dict() | {"benchmarks": self.benchmarks.model_dump(mode="json")}


def examine(
    settings: Settings,
    version: Path | None,
    *,
    task: Task = "all",
    baseline: bool = False,
    floor: bool = False,
) -> Examination:
    """Score a version's student, the ceiling and, on request, the baselines.

    Args:
        settings: Settings of the version, or settings for testing only baselines.
        version: Version directory; None: no student.
        task: Test sets to use.
        baseline: Add a row for the teacher fed Spanish and, where settings name their models, for
            Multilingual-CLIP and for the teacher fed translations.
        floor: Add the row for the teacher fed Spanish, which needs no other model.

    Raises:
        InputError: The version is damaged, its teacher does not match, or test data are missing.
    """
    sources = Sources(settings)
    xtd10, imagenet, caption_sets = _open_benchmarks(settings, sources, task, version)
    encoder, identity = _load_encoder(version) if version is not None else (None, None)
    if settings.data.targets is not None:
        if version is None:
            raise InputError(
                "test --baseline: settings must have a teacher with an image tower, got data.targets "
                f"{settings.data.targets}"
            )
        raise InputError(
            f"{version}: must have a teacher to be tested on images, but was trained on data.targets "
            f"{settings.data.targets}"
        )
    device = resolve_device(settings.training.device)
    teacher = _teacher(
        sources, settings.teacher.architecture, settings.teacher.pretrained, settings.training.device
    )
    rows = {}
    if version is not None and encoder is not None:
        target, (dimension, encode_on) = settings.teacher.target, encoder
        of_version = VersionTeacher(version, settings, dimension)
        of_version.refuse_other_dimension(teacher.dimension(target))

        def encode(texts: Sequence[str]) -> Tensor:
            return teacher.to_image_space(encode_on(device, texts), target)

        rows[STUDENT] = Row(encode, settings.benchmarks.language, teacher.encode_images)
    rows[CEILING] = Row(teacher.encode_texts, ENGLISH, teacher.encode_images)
    if baseline:
        rows |= _baselines(settings, sources, device, rows[CEILING])
    if baseline or floor:
        language = settings.benchmarks.language
        of_floor = partial(teacher.encode_texts, what=f"texts in {language!r} with the teacher")
        rows[FLOOR] = Row(of_floor, language, teacher.encode_images)
    pictured = sources.pictured(settings.benchmarks.captions or "") if xtd10 else None
    scores = evaluate(rows, xtd10, imagenet, caption_sets)

    def look(paths: Sequence[Path]) -> Tensor:
        return teacher.model.encode_images(paths)

    return Examination(settings.benchmarks, scores, xtd10, imagenet, rows, look, pictured, identity)


_Encoder = tuple[int, Callable[[torch.device, Sequence[str]], Tensor]]
"""Dimension, and encoder of texts on a device."""


def _load_encoder(version: Path) -> tuple[_Encoder, Identity | None]:
    """Return the encoder of a version's student with its identity, or of a static table, without one."""
    if is_table(version):
        table = load_table(version)
        return (table.dimension, lambda _, texts: table.encode(texts)), None
    (student, tokenizer), identity = load_part(
        version, "student", lambda folder: (load_student(folder), identity_of(folder))
    )
    dimension = student.head.dimension
    return (dimension, lambda device, texts: student.to(device).encode(tokenizer, texts)), identity


def _baselines(settings: Settings, sources: Sources, device: torch.device, ceiling: Row) -> dict[str, Row]:
    config = settings.benchmarks
    rows = {}
    if config.mclip is not None and config.mclip_architecture is not None:
        mclip = MClip.load(sources.resolve(config.mclip), str(device))
        own = _teacher(sources, config.mclip_architecture, config.mclip_pretrained, settings.training.device)
        if mclip.dimension != own.dimension("embedding"):
            raise InputError(
                f"benchmarks.mclip {config.mclip}: its vectors must have the "
                f"{own.dimension('embedding')} dimensions of {config.mclip_architecture}, "
                f"got {mclip.dimension}"
            )
        rows[BASELINE] = Row(mclip.encode, config.language, own.encode_images)
    if config.translator is not None:
        name = sources.resolve(config.translator)

        def translate(texts: Sequence[str]) -> Tensor:
            load = partial(Translator.load, name, str(device), ENGLISH)
            return ceiling.encode(translations(sources.cache, name, texts, ENGLISH, load))

        rows[TRANSLATED] = Row(translate, config.language, ceiling.images)
    return rows


def fetch_models(settings: Settings) -> None:
    """Fetch the models of baselines and prompts, by loading each once.

    Raises:
        InputError: A model cannot be fetched or loaded.
    """
    sources, config = Sources(settings), settings.benchmarks
    if config.mclip is not None and config.mclip_architecture is not None:
        MClip.load(sources.resolve(config.mclip), "cpu")
        own = _teacher(sources, config.mclip_architecture, config.mclip_pretrained, "cpu")
        _ = own.model
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


def _teacher(sources: Sources, architecture: str, pretrained: str | None, device: Device) -> CachedTeacher:
    return CachedTeacher(sources.cache, *sources.teacher(architecture, pretrained), device)


def _open_benchmarks(
    settings: Settings, sources: Sources, task: Task, version: Path | None
) -> tuple[Xtd10 | None, ImageNet | None, list[CaptionSet]]:
    config = settings.benchmarks
    xtd10 = imagenet = None
    caption_sets: list[CaptionSet] = []
    try:
        if config.captions and config.images and task in ("all", RETRIEVAL):
            captions = sources.path(config.captions, "benchmarks.captions")
            xtd10 = Xtd10.open(captions, sources.path(config.images, "benchmarks.images"), config.language)
        if task in ("all", RETRIEVAL):
            caption_sets = open_caption_sets(settings, sources, xtd10)
        if config.imagenet and task in ("all", ACCURACY):
            folder = sources.path(config.imagenet, "benchmarks.imagenet")
            imagenet = ImageNet.open(folder, _prompts(settings, sources, folder))
    except MissingInputError as error:
        raise with_fetching_command(error, settings, version) from None
    if imagenet is None and not caption_sets:
        raise InputError(f"benchmarks: must name test data for --task {task}, got none")
    return xtd10, imagenet, caption_sets
