"""Preparation of the data of `train()` from settings.

    corpora -> cleaned pairs -> training and validation bitext
        different English texts -> teacher vectors (U, D) float16
        Spanish texts -> token ids, flat, with offsets
    validation images -> teacher vectors (I, E) float32; their captions -> token ids

Results are cached by content, so a second run or another trial computes nothing. All steps stream, so a
corpus may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from themo.config.settings import Settings
from themo.data.bitext import Bitext, Plan, open_bitexts
from themo.data.cleaning import Rules
from themo.data.dataset import CaptionedImages, EncodedPairs, TrainingData
from themo.data.kept_out import texts_and_images_of_tests
from themo.data.sources import Sources
from themo.data.targets import EncodeElsewhere, own_vectors, teacher_vectors
from themo.data.xtd10 import ENGLISH, Xtd10
from themo.files.cache import Cache, digest_file
from themo.files.npy import NpyWriter
from themo.models.backbones import load_config, refuse_length
from themo.models.cached_teacher import CachedTeacher
from themo.models.plain_backbone import plain_backbone
from themo.models.tokens import Tokenizer
from themo.process.progress import console, track


def prepare_data(settings: Settings, elsewhere: EncodeElsewhere | None = None) -> TrainingData:
    """Read, clean, split and encode the corpora, or take the results from the cache.

    Args:
        settings: Settings of the run.
        elsewhere: Computes the teacher vectors of a large corpus on other machines.

    Raises:
        InputError: A data setting is wrong, or a file that it names.
    """
    sources = Sources(settings)
    cache, inputs = sources.cache, _Inputs.of(settings, sources)
    backbone = plain_backbone(cache, inputs.backbone)
    config = load_config(backbone)
    refuse_length(inputs.backbone, config, settings.student.max_length)  # before a run is booked
    folder = cache.entry("corpus", inputs.plan.digest(), inputs.plan.build)
    train, held, drops = open_bitexts(folder)
    for corpus, name in zip(drops, inputs.plan.names, strict=False):  # equal files may have other names
        console.print(f"Corpus {replace(corpus, name=name)}")

    tokenizer = Tokenizer.load(backbone)
    is_own, images, to_image_space = isinstance(inputs.targets, Path), None, None

    def encode(part: Bitext, vectors: Path, rows: npt.NDArray[np.int64]) -> EncodedPairs:
        key = [folder.name, part.folder.name, is_own]
        tokens = _tokenize(cache, tokenizer, key, part.spanish(), len(part), rows, part.english_ids)
        return EncodedPairs(tokens, vectors)

    if isinstance(inputs.targets, Path):
        own = own_vectors(inputs.targets, sum(corpus.read for corpus in drops))
        training, validation = (encode(part, own, part.rows) for part in (train, held))
        targets = digest_file(own)
    else:
        names, device, target = inputs.targets, settings.training.device, settings.teacher.target
        teacher = CachedTeacher(cache, *names, device)
        compute = elsewhere and partial(elsewhere, names, device)

        def vectors_of(part: Bitext) -> Path:
            return teacher_vectors(cache, teacher.fingerprint, target, part, lambda: teacher.model, compute)

        training, validation = (encode(part, vectors_of(part), part.english_ids) for part in (train, held))
        targets = training.vectors.parent.name
        if inputs.images is not None:
            images = _captioned_images(cache, settings, inputs.images, tokenizer, teacher)
        if settings.loss.nested_widths is not None:
            to_image_space = teacher.map_file(target)
    prepared = TrainingData(
        training,
        validation,
        inputs.backbone,
        images,
        tuple((n, corpus.weight) for n, corpus in zip(train.sizes, inputs.plan.corpora, strict=True)),
        inputs.backbone_repository,
        folder.name,
        to_image_space,
        backbone,
        targets,
    )
    pa.default_memory_pool().release_unused()  # memory that Arrow holds for reuse
    return prepared


def training_sentences(settings: Settings, most: int) -> list[str]:
    """Return Spanish sentences of the training pairs, each once, a fixed random choice of at most `most`.

    Raises:
        InputError: A data setting is wrong, or a file that it names.
    """
    sources = Sources(settings)
    plan = _plan(settings, sources)
    folder = sources.cache.entry("corpus", plan.digest(), plan.build)
    train, _, _ = open_bitexts(folder)
    chosen = np.random.default_rng(0).permutation(len(train))[:most]
    is_chosen = np.zeros(len(train), bool)
    is_chosen[chosen] = True
    sentences: dict[str, None] = {}
    start = 0
    for texts in train.spanish():
        kept = texts.filter(pa.array(is_chosen[start : start + len(texts)]))
        sentences |= dict.fromkeys(kept.to_pylist())
        start += len(texts)
    return list(sentences)


@dataclass(frozen=True)
class _Inputs:
    """Files and models that the settings name, located; nothing is computed yet.

    Attributes:
        backbone: Folder of the student's backbone.
        backbone_repository: Hub repository of the backbone; None: a folder of the user.
        plan: The corpora, and the pairs to leave out.
        targets: File of the user's own vectors, or the teacher that computes them: architecture and weights.
        images: Images for validation and their captions; None: no images.
    """

    backbone: str
    backbone_repository: str | None
    plan: Plan
    targets: Path | tuple[str, str | None]
    images: Xtd10 | None

    @classmethod
    def of(cls, settings: Settings, sources: Sources) -> _Inputs:
        """Locate the inputs of settings.

        Raises:
            InputError: A file is missing or cannot be fetched.
        """
        data, student, images = settings.data, settings.student, None
        if data.validation_captions is not None and data.validation_images is not None:
            images = Xtd10.open(
                sources.path(data.validation_captions, "data.validation_captions"),
                sources.path(data.validation_images, "data.validation_images"),
                settings.benchmarks.language,
            )
        targets: Path | tuple[str, str | None]
        if data.targets is not None:  # then the teacher's name may lead to one that is yet to be built
            targets = sources.path(data.targets, "data.targets")
        else:
            targets = sources.teacher(settings.teacher.architecture, settings.teacher.pretrained)
        return cls(
            sources.backbone(student.backbone, student.backbone_weights),
            sources.backbone_repository(student.backbone),
            _plan(settings, sources),
            targets,
            images,
        )


def _plan(settings: Settings, sources: Sources) -> Plan:
    data = settings.data
    return Plan(
        [sources.corpus(name, "data.corpus", data.columns, data.image_column) for name in data.corpus],
        Rules(data.max_length_ratio, data.check_language),
        sources.corpus(data.validation, "data.validation", data.columns) if data.validation else None,
        data.validation_pairs,
        data.max_pairs,
        *texts_and_images_of_tests(settings, sources),
    )


def _captioned_images(
    cache: Cache, settings: Settings, test_set: Xtd10, tokenizer: Tokenizer, teacher: CachedTeacher
) -> CaptionedImages:
    rows = np.array(test_set.image_of_caption, dtype=np.int64)
    captions = test_set.captions[settings.benchmarks.language]
    # not before it is needed: pyarrow imports pandas with its first array
    arrays = (pa.array(texts, pa.large_string()) for texts in [captions])
    tokens = _tokenize(cache, tokenizer, [captions, rows.tolist()], arrays, len(rows), rows, rows)
    vectors = teacher.image_file(test_set.images)
    english = teacher.caption_file(test_set.captions[ENGLISH])
    to_image_space = teacher.map_file(settings.teacher.target)
    return CaptionedImages(EncodedPairs(tokens, vectors), to_image_space, english)


def _tokenize(
    cache: Cache,
    tokenizer: Tokenizer,
    key: object,
    spanish: Iterable[pa.Array],
    n_texts: int,
    rows: npt.NDArray[np.int64],
    english_ids: npt.NDArray[np.int64],
) -> Path:
    """Tokenise texts into the folder of an `EncodedPairs`."""

    def build(folder: Path) -> None:
        n_tokens = 0
        with (
            track("Tokenising Spanish", n_texts, "texts") as advance,
            NpyWriter(folder / "ids.npy", tokenizer.dtype) as ids,
            NpyWriter(folder / "offsets.npy", np.int64) as offsets,
        ):
            offsets.append(np.zeros(1, np.int64))
            for texts in spanish:
                if not len(texts):
                    continue
                flat, counts = tokenizer.encode(texts.to_pylist())
                ids.append(flat)
                offsets.append(n_tokens + np.cumsum(counts))
                n_tokens += len(flat)
                advance(len(texts))
        np.save(folder / "rows.npy", rows)
        np.save(folder / "english.npy", english_ids)
        layout = {"pad": tokenizer.pad_id, "suffix": tokenizer.suffix}
        (folder / "layout.json").write_text(json.dumps(layout), encoding="utf-8")

    return cache.entry("pairs", {"tokenizer": tokenizer.fingerprint, "pairs": key}, build)
