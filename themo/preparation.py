"""From settings to the data that `train()` reads.

    corpus -> cleaned pairs -> training and validation split
        English, distinct texts -> teacher vectors (U, D) float16
        Spanish                 -> token ids, flat, with offsets
    validation images -> teacher vectors (I, E) float32; their captions -> token ids

Everything is kept by content, so a second run, or another trial, computes nothing.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from themo.backbones import load_config, refuse_length
from themo.benchmarks import ENGLISH, Xtd10
from themo.cache import Cache, digest_array
from themo.config import Settings
from themo.corpora import Pairs, clean, digest_texts, read_pairs, sample, split
from themo.dataset import CaptionedImages, EncodedPairs, TrainingData
from themo.devices import resolve_device
from themo.errors import InputError
from themo.image_vectors import image_vectors, map_to_image_space
from themo.progress import console, track
from themo.sources import Sources
from themo.targets import own_vectors, teacher_vectors
from themo.teacher import Teacher, fingerprint
from themo.tokens import Tokenizer

_TEXTS_A_CHUNK = 20_000


def prepare_data(settings: Settings) -> TrainingData:
    """Read, clean and split the corpus, encode both sides; from the cache where it was done before.

    Raises:
        InputError: Something in the data settings, or in the files that they name, is wrong.
    """
    sources = Sources(settings)
    data = settings.data
    pairs = read_pairs([sources.path(name, "data.corpus") for name in data.corpus], data.columns)
    own = own_vectors(sources.path(data.targets, "data.targets"), len(pairs)) if data.targets else None
    pairs, drops = clean(pairs)
    console.print(f"Corpus: {drops}")
    if data.validation:
        held = read_pairs([sources.path(data.validation, "data.validation")], data.columns)
        held = sample(clean(held)[0], data.validation_pairs)
    else:
        pairs, held = split(pairs, data.validation_pairs)
    for setting, part in (("data.corpus", pairs), ("data.validation", held)):
        if not len(part):
            raise InputError(f"{setting}: must hold at least one pair with both sides filled, got none")
    if data.max_pairs:
        pairs = sample(pairs, data.max_pairs)

    backbone = sources.resolve(settings.student.backbone)
    refuse_length(load_config(backbone), settings.student.max_length)  # before a run is booked
    tokenizer = Tokenizer.load(backbone)
    teacher = _LazyTeacher(settings, sources)

    def encode(part: Pairs) -> EncodedPairs:
        if own is not None:
            return _tokenize(sources.cache, tokenizer, part, part.rows, own)
        encoded = part.en.dictionary_encode()
        rows = np.asarray(encoded.indices, dtype=np.int64)
        vectors = teacher_vectors(
            sources.cache, teacher.fingerprint, settings.teacher.target, encoded.dictionary, teacher.load
        )
        return _tokenize(sources.cache, tokenizer, part, rows, vectors)

    images = _captioned_images(settings, sources, tokenizer, teacher) if data.validation_images else None
    prepared = TrainingData(encode(pairs), encode(held), backbone, images)
    del pairs, held
    pa.default_memory_pool().release_unused()  # what Arrow keeps for later: half a gigabyte a million pairs
    return prepared


class _LazyTeacher:
    """The teacher of the settings: looked for when first asked, loaded when something must be computed.

    Own targets need none, and its name may lead to one that is yet to be built.
    """

    def __init__(self, settings: Settings, sources: Sources) -> None:
        self._settings = settings
        self._sources = sources

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(*self._names)

    def load(self) -> Teacher:
        return self._teacher

    @cached_property
    def _names(self) -> tuple[str, str | None]:
        teacher, resolve = self._settings.teacher, self._sources.resolve
        return resolve(teacher.architecture), resolve(teacher.pretrained) if teacher.pretrained else None

    @cached_property
    def _teacher(self) -> Teacher:
        return Teacher.load(*self._names, str(resolve_device(self._settings.training.device)))


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
    captions = Pairs(pa.array(test_set.captions[ENGLISH]), pa.array(test_set.captions[language]), rows)
    return CaptionedImages(
        _tokenize(sources.cache, tokenizer, captions, rows, vectors),
        map_to_image_space(sources.cache, teacher.fingerprint, settings.teacher.target, teacher.load),
    )


def _tokenize(
    cache: Cache, tokenizer: Tokenizer, pairs: Pairs, rows: npt.NDArray[np.int64], vectors: Path
) -> EncodedPairs:
    def build(folder: Path) -> None:
        ids, lengths = [], []
        with track("Tokens of Spanish", len(pairs), "texts") as advance:
            for start in range(0, len(pairs), _TEXTS_A_CHUNK):
                texts = pairs.es.slice(start, _TEXTS_A_CHUNK).to_pylist()
                flat, counts = tokenizer.encode(texts)
                ids.append(flat)
                lengths.append(counts)
                advance(len(texts))
        np.save(folder / "ids.npy", np.concatenate(ids))
        np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(np.concatenate(lengths))]))
        np.save(folder / "rows.npy", rows)
        np.save(folder / "english.npy", pairs.english_ids())
        layout = {"pad": tokenizer.pad_id, "suffix": tokenizer.suffix}
        (folder / "layout.json").write_text(json.dumps(layout), encoding="utf-8")

    key = {
        "tokenizer": tokenizer.fingerprint,
        "texts": [digest_texts(pairs.en), digest_texts(pairs.es)],
        "rows": digest_array(rows),
    }
    return EncodedPairs(cache.entry("pairs", key, build), vectors)
