"""The loss of an encoder in lower precision, measured on sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from themo.data.preparation import prepare_data
from themo.data.text_lines import read_lines
from themo.errors import InputError
from themo.evaluation.matching import MatchAt1
from themo.export.source import Source
from themo.models.student import Head
from themo.models.tokens import Tokenizer, cut


@dataclass(frozen=True)
class Sentences:
    """N Spanish sentences as token ids.

    Attributes:
        name: Description for messages.
        rows: Ids of each sentence, special tokens included, cut to the student's length.
        pad_id: Id of padding.
        match: ``match@01`` of vectors in the export's space; None without translations.
    """

    name: str
    rows: Sequence[Sequence[int]]
    pad_id: int
    match: MatchAt1 | None = None

    @classmethod
    def of_texts(cls, texts: Sequence[str], source: Source, name: str = "") -> Sentences:
        """Tokenise texts."""
        return cls(name, _rows(source.tokenizer, source.trained.head, texts), source.tokenizer.pad_id)

    @classmethod
    def of_file(cls, path: Path, source: Source) -> Sentences:
        """Read a UTF-8 file of one sentence per line; skip blank lines.

        Raises:
            InputError: The file cannot be read, is not UTF-8, or holds no sentence.
        """
        texts = read_sentences(path)
        return cls.of_texts(texts, source, f"{len(texts):,} sentences of {path.name}")

    @classmethod
    def of_validation(cls, source: Source) -> Sentences:
        """Return the version's held-out pairs, with their teacher vectors in the export's space.

        Raises:
            InputError: The pairs cannot be loaded.
        """
        try:
            pairs = prepare_data(source.settings).validation
        except InputError as error:
            raise InputError(
                f"--int8 measures its loss on the version's validation pairs, or on --sentences FILE: {error}"
            ) from error
        head, suffix = source.trained.head, pairs.layout["suffix"]
        bounds = zip(pairs.offsets[:-1], pairs.offsets[1:], strict=True)
        rows = [cut(pairs.ids[start:end].tolist(), head.max_length, suffix) for start, end in bounds]
        targets_ND = torch.from_numpy(pairs.targets.rows(np.asarray(pairs.rows))).float()
        if source.is_projected:
            targets_ND = source.teacher.to_image_space(targets_ND, "state")
        match = MatchAt1(targets_ND, torch.from_numpy(np.array(pairs.english_ids)))
        return cls(f"the version's {len(rows):,} validation pairs", rows, pairs.layout["pad"], match)


def read_sentences(path: Path) -> list[str]:
    """Read a UTF-8 file of one sentence per line; skip blank lines.

    Raises:
        InputError: The file cannot be read, is not UTF-8, or holds no sentence.
    """
    texts = read_lines(path, name=f"--sentences {path}", skip_blank=True)
    if not texts:
        raise InputError(f"--sentences {path}: must contain one sentence per line, got none")
    return texts


@dataclass(frozen=True)
class Quality:
    """Distance of an encoder's vectors from the student's, on the same sentences.

    Attributes:
        n_sentences: N.
        cosine_mean: Mean cosine between the two.
        cosine_least: Least cosine.
        batch_cosine_least: Least cosine between the encoder's vector of a sentence alone and in a batch. In 8
            bits it is below 1, since activations have one scale per batch.
        match: ``match@01`` of the student and of the encoder; None if it is unknown.
    """

    n_sentences: int
    cosine_mean: float
    cosine_least: float
    batch_cosine_least: float
    match: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the measures as a JSON object."""
        content: dict[str, Any] = {
            "n": self.n_sentences,
            "cosine_mean": self.cosine_mean,
            "cosine_least": self.cosine_least,
            "batch_cosine_least": self.batch_cosine_least,
        }
        if self.match is not None:
            content |= {"match@01_float32": self.match[0], "match@01_int8": self.match[1]}
        return content

    def in_words(self, name: str) -> str:
        """Return the measures in a sentence or two."""
        words = (
            f"Measured on {name}: cosine to the 32-bit vectors {self.cosine_mean:.5f} on average, "
            f"{self.cosine_least:.5f} at least"
        )
        if self.match is not None:
            before, after = self.match
            words += f"; match@01 {after:.3f} in place of {before:.3f} ({after - before:+.3f})"
        return (
            f"{words}. A vector depends on the other sentences of its batch, by up to "
            f"{1 - self.batch_cosine_least:.1e} of cosine on these sentences: encode one sentence at a time "
            "where it must not."
        )


def compare(vectors_NE: Tensor, others_NE: Tensor, alone_KE: Tensor, sentences: Sentences) -> Quality:
    """Compare two encoders' vectors of the same sentences.

    Args:
        vectors_NE: The student's vectors.
        others_NE: The encoder's vectors, in batches of the sentences' order.
        alone_KE: The encoder's vectors of the first K sentences, each encoded alone.
        sentences: The sentences.
    """
    cosine_N = functional.cosine_similarity(vectors_NE, others_NE)
    batch_cosine_K = functional.cosine_similarity(alone_KE.double(), others_NE[: len(alone_KE)].double())
    match = sentences.match
    return Quality(
        len(cosine_N),
        cosine_N.mean().item(),
        cosine_N.min().item(),
        batch_cosine_K.min().item(),
        (match(vectors_NE), match(others_NE)) if match is not None else None,
    )


def _rows(tokenizer: Tokenizer, head: Head, texts: Sequence[str]) -> list[list[int]]:
    flat, counts = tokenizer.encode(texts)
    sentences = np.split(flat, np.cumsum(counts)[:-1])
    return [cut(ids.tolist(), head.max_length, tokenizer.suffix) for ids in sentences]
