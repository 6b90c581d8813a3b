"""A static table: a vector for each word and frequent phrase; a text is the mean of its tokens' vectors.

The folder is in model2vec's form: ``model.safetensors`` with ``embeddings`` (V, E), ``tokenizer.json`` and
``config.json``. model2vec reads tables of other makers too; this module reads those of `save_table`.

Shape suffixes: V tokens, N texts, E dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from themo.errors import InputError, reason_of
from themo.files.weights import write_weights
from themo.models.phrases import LONGEST_TEXT, PhraseReader
from themo.models.table_folders import CONFIG, KIND, MAKER, is_table

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
MODEL_TYPE = "model2vec"
_NAME = "embeddings"
_BATCH = 4096


class StaticTable:
    """A static table.

    Args:
        tokenizer: Made by `themo.models.phrases.build_tokenizer`.
        vectors_VE: float32 vectors of its tokens.
    """

    def __init__(self, tokenizer: Tokenizer, vectors_VE: Tensor) -> None:
        self.vectors_VE = vectors_VE
        self._read = PhraseReader(tokenizer)

    @property
    def dimension(self) -> int:
        """E, length of a vector."""
        return int(self.vectors_VE.shape[1])

    @property
    def max_length(self) -> int:
        """Greatest length of a text; no text has more tokens than characters."""
        return LONGEST_TEXT

    @property
    def device(self) -> torch.device:
        """Device of the table."""
        return self.vectors_VE.device

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the words and phrases of each text."""
        tokens, starts = self._read(texts)
        return np.diff([*starts.tolist(), len(tokens)]).tolist() if texts else []

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether the table has all its words."""
        return self._read.knows(texts)

    def encode(self, texts: Sequence[str], batch_size: int = _BATCH) -> Tensor:  # noqa: ARG002 -- a student's argument
        """Return the vectors of texts, (N, E) float32 of length 1; zeros for a text without a known word."""
        if not texts:
            return torch.empty(0, self.dimension)
        return torch.cat([self._encode(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)])

    def _encode(self, texts: Sequence[str]) -> Tensor:
        tokens, starts = self._read(texts)
        sums_NE = functional.embedding_bag(
            torch.from_numpy(tokens), self.vectors_VE, torch.from_numpy(starts), mode="sum"
        )
        return functional.normalize(sums_NE, dim=1)


def save_table(folder: Path, tokenizer: Tokenizer, vectors_VE: Tensor) -> None:
    """Write a table into a folder, its values in 8 bits with one scale, which cosines do not depend on."""
    scale = vectors_VE.abs().max().clamp(min=torch.finfo(torch.float32).tiny) / 127
    write_weights({_NAME: (vectors_VE / scale).round().to(torch.int8)}, folder / WEIGHTS)
    tokenizer.save(str(folder / TOKENIZER), pretty=False)
    config = {
        "model_type": MODEL_TYPE,
        "architectures": ["StaticModel"],
        "hidden_dim": vectors_VE.shape[1],
        "normalize": True,
        "max_length": None,
        "embedding_dtype": "int8",
        MAKER: KIND,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")


def load_table(folder: Path) -> StaticTable:
    """Load a table that `save_table` wrote.

    Raises:
        InputError: A file is missing, damaged, or of another maker.
    """
    if not is_table(folder):
        raise InputError(f"{folder}: must be a static table that `export --format static` wrote")
    try:
        vectors_VE = load_file(folder / WEIGHTS)[_NAME].float()
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        if vectors_VE.ndim != 2 or len(vectors_VE) != tokenizer.get_vocab_size():
            raise ValueError(f"{tuple(vectors_VE.shape)} vectors for {tokenizer.get_vocab_size()} tokens")
        return StaticTable(tokenizer, vectors_VE)
    except Exception as error:  # safetensors and tokenizers raise different errors
        raise InputError(f"{folder}: is not a complete static table: {reason_of(error)}") from error
