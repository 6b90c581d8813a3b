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
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from themo.config.settings import Settings
from themo.data.bitext import Bitext, Plan, open_bitexts
from themo.data.cleaning import Rules
from themo.data.dataset import CaptionedImages, EncodedPairs, TrainingData
from themo.data.sources import Sources
from themo.data.targets import EncodeElsewhere, own_vectors, teacher_vectors
from themo.data.test_sets import Xtd10, read_captions, read_image_ids
from themo.errors import InputError
from themo.files.cache import Cache
from themo.files.npy import NpyWriter
from themo.models.backbones import load_config, refuse_length
from themo.models.image_vectors import image_vectors, map_to_image_space
from themo.models.teacher_names import fingerprint
from themo.models.tokens import Tokenizer
from themo.process.devices import resolve_device
from themo.process.progress import console, track

if TYPE_CHECKING:
    from themo.models.teacher import Teacher


def prepare_data(settings: Settings, elsewhere: EncodeElsewhere | None = None) -> TrainingData:
    """Read, clean, split and encode the corpora, or take the results from the cache.

    Args:
        settings: Settings of the run.
        elsewhere: Computes the teacher vectors of a large corpus on other machines.

    Raises:
        InputError: A data setting is wrong, or a file that it names.
    """
    sources = Sources(settings)
    backbone = sources.backbone(settings.student.backbone, settings.student.backbone_weights)
    refuse_length(backbone, load_config(backbone), settings.student.max_length)  # before the slow steps
    plan = _plan(settings, sources)
    folder = sources.cache.entry("corpus", plan.digest(), plan.build)
    train, held, drops = open_bitexts(folder)
    for corpus in drops:
        console.print(f"Corpus {corpus}")

    tokenizer = Tokenizer.load(backbone)
    teacher = _LazyTeacher(settings, sources)
    own: Path | None = None
    if settings.data.targets is not None:
        n_rows = sum(corpus.read for corpus in drops)
        own = own_vectors(sources.path(settings.data.targets, "data.targets"), n_rows)

    def encode(part: Bitext) -> EncodedPairs:
        vectors, rows = own, part.rows
        if vectors is None:
            rows, target = part.english_ids, settings.teacher.target
            others = partial(elsewhere, teacher.names, settings.training.device) if elsewhere else None
            vectors = teacher_vectors(sources.cache, teacher.fingerprint, target, part, teacher.load, others)
        key = [folder.name, part.folder.name, own is not None]
        tokens = _tokenize(sources.cache, tokenizer, key, part.spanish(), len(part), rows, part.english_ids)
        return EncodedPairs(tokens, vectors)

    images = (
        _captioned_images(settings, sources, tokenizer, teacher) if settings.data.validation_images else None
    )
    prepared = TrainingData(
        encode(train),
        encode(held),
        backbone,
        images,
        tuple((n, corpus.weight) for n, corpus in zip(train.sizes, plan.corpora, strict=True)),
        sources.backbone_repository(settings.student.backbone),
        folder.name,
    )
    pa.default_memory_pool().release_unused()  # memory that Arrow holds for reuse
    return prepared


def _plan(settings: Settings, sources: Sources) -> Plan:
    data = settings.data
    return Plan(
        [sources.corpus(name, "data.corpus", data.columns, data.image_column) for name in data.corpus],
        Rules(data.max_length_ratio, data.check_language),
        sources.corpus(data.validation, "data.validation", data.columns) if data.validation else None,
        data.validation_pairs,
        data.max_pairs,
        *_of_tests(settings, sources),
    )


def _of_tests(settings: Settings, sources: Sources) -> tuple[frozenset[str], frozenset[str]]:
    """Return captions and image ids of tests and validation, which no training pair may hold.

    Own targets have no image tower: their student is never tested on images.
    """
    language = settings.benchmarks.language
    texts: set[str] = set()
    images: set[str] = set()

    def add(folder: Path) -> None:
        texts.update(*read_captions(folder, language).values())
        images.update(read_image_ids(folder))

    if settings.data.validation_captions is not None:
        add(sources.path(settings.data.validation_captions, "data.validation_captions"))
    if settings.benchmarks.captions is not None and settings.data.targets is None:
        try:
            add(sources.path(settings.benchmarks.captions, "benchmarks.captions"))
        except InputError as error:  # training is possible without the test data
            console.print(f"Training pairs are not compared with the captions of the tests: {error}")
    return frozenset(texts), frozenset(images)


class _LazyTeacher:
    """The teacher of the settings: resolved at first use, loaded only if vectors must be computed.

    Own targets need no teacher, and the miniature's teacher may have to be built first.
    """

    def __init__(self, settings: Settings, sources: Sources) -> None:
        self._settings = settings
        self._sources = sources

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(*self.names)

    def load(self) -> Teacher:
        return self._teacher

    @cached_property
    def names(self) -> tuple[str, str | None]:
        teacher, resolve = self._settings.teacher, self._sources.resolve
        return resolve(teacher.architecture), resolve(teacher.pretrained) if teacher.pretrained else None

    @cached_property
    def _teacher(self) -> Teacher:
        from themo.models.teacher import Teacher  # with open_clip: seconds

        return Teacher.load(*self.names, str(resolve_device(self._settings.training.device)))


def _captioned_images(
    settings: Settings, sources: Sources, tokenizer: Tokenizer, teacher: _LazyTeacher
) -> CaptionedImages:
    data = settings.data
    folder = sources.path(str(data.validation_captions), "data.validation_captions")
    images = sources.path(str(data.validation_images), "data.validation_images")
    language = settings.benchmarks.language
    test_set = Xtd10.open(folder, images, language)
    vectors = image_vectors(sources.cache, teacher.fingerprint, test_set.images, teacher.load)
    rows = np.array(test_set.image_of_caption, dtype=np.int64)
    captions = pa.array(test_set.captions[language], pa.large_string())
    key = [captions.to_pylist(), rows.tolist()]
    return CaptionedImages(
        EncodedPairs(_tokenize(sources.cache, tokenizer, key, [captions], len(rows), rows, rows), vectors),
        map_to_image_space(sources.cache, teacher.fingerprint, settings.teacher.target, teacher.load),
    )


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
