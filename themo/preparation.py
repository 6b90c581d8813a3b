"""From settings to the data that `train()` reads.

    corpus -> cleaned pairs -> training and validation split
        English, distinct texts -> teacher vectors (U, D) float16
        Spanish                 -> token ids, flat, with offsets

Everything is kept by content, so a second run, or another trial, computes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from themo.cache import Cache, digest_array
from themo.config import Settings
from themo.corpora import Pairs, clean, digest_texts, read_pairs, sample, split
from themo.dataset import EncodedPairs, TrainingData
from themo.devices import resolve_device
from themo.errors import InputError
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
    tokenizer = Tokenizer.load(backbone)

    def encode(part: Pairs) -> EncodedPairs:
        if own is not None:
            return _tokenize(sources.cache, tokenizer, part, part.rows, own)
        # only here: own targets need no teacher, and a name may lead to one that is yet to be built
        architecture = sources.resolve(settings.teacher.architecture)
        pretrained = sources.resolve(settings.teacher.pretrained) if settings.teacher.pretrained else None
        encoded = part.en.dictionary_encode()
        rows = np.asarray(encoded.indices, dtype=np.int64)
        vectors = teacher_vectors(
            sources.cache,
            fingerprint(architecture, pretrained),
            settings.teacher.target,
            encoded.dictionary,
            load=lambda: Teacher.load(
                architecture, pretrained, str(resolve_device(settings.training.device))
            ),
        )
        return _tokenize(sources.cache, tokenizer, part, rows, vectors)

    prepared = TrainingData(encode(pairs), encode(held), backbone)
    del pairs, held
    pa.default_memory_pool().release_unused()  # what Arrow keeps for later: half a gigabyte a million pairs
    return prepared


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
