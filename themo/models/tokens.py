"""Token ids of Spanish text by the backbone's tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as Backend
from tokenizers import normalizers

from themo.config.sections import MAX_TOKENS
from themo.files.cache import digest
from themo.models.backbones import load_config, load_tokenizer
from themo.models.bert_files import PlainTokenizer, plain_tokenizer
from themo.models.normal_form import NORMAL_FORM, canonical, is_decomposable
from themo.models.token_ids import largest_id, refuse_largest_id


class Tokenizer:
    """A fast tokenizer of transformers with the facts that batching needs.

    It first converts every text to canonical form, and so does each ``tokenizer.json`` written from it.

    Args:
        own: The tokenizer, of transformers' class or plain.

    Attributes:
        pad_id: Id of padding, which is masked.
        unknown_id: Id of the unknown token; None: no such token.
        suffix: Number of special tokens at the end of a sentence (1 for BERT's separator).
        fingerprint: Digest of the whole tokenizer.
        largest_id: Largest id, which may be above the number of entries.
        dtype: Smallest type that holds all ids.
    """

    def __init__(self, own: Any) -> None:
        self._own = own
        self._backend = own.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        state = json.loads(self._backend.to_str())
        _compose_first(self._backend, state["normalizer"])
        self.pad_id: int = own.pad_token_id if own.pad_token_id is not None else 0
        self.unknown_id: int | None = own.unk_token_id
        self._blank: int = self.unknown_id if self.unknown_id is not None else self.pad_id
        specials = self._backend.encode("a").special_tokens_mask
        self.suffix: int = len(specials) - len("".join(map(str, specials)).rstrip("1"))
        self.fingerprint = digest([self._backend.to_str(), MAX_TOKENS])
        self.largest_id = largest_id(state)
        is_short = self.largest_id < np.iinfo(np.uint16).max
        self.dtype: type[np.integer[Any]] = np.uint16 if is_short else np.int32

    @classmethod
    def load(cls, backbone: str) -> Tokenizer:
        """Load the tokenizer of a backbone.

        Raises:
            InputError: The backbone is unknown, has no fast tokenizer, or has ids beyond its vocabulary.
        """
        tokenizer = cls(plain_tokenizer(Path(backbone)) or load_tokenizer(backbone))
        vocab_size = load_config(backbone).vocab_size
        refuse_largest_id(f"student.backbone {backbone}", tokenizer.largest_id, vocab_size)
        return tokenizer

    @cached_property
    def inner(self) -> Any:
        """The tokenizer as transformers' class, which takes a second to import."""
        if not isinstance(self._own, PlainTokenizer):
            return self._own
        return Tokenizer(load_tokenizer(str(self._own.folder))).inner

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files as transformers does."""
        self._own.save_pretrained(folder)

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.int64]]:
        """Return the concatenated ids of all texts, with special tokens, and the number of ids of each.

        Texts longer than `MAX_TOKENS` tokens are cut before the special tokens at the end. A text without any
        tokens is read as one unknown token: an encoder needs a state to pool.
        """
        sentences = [
            cut(encoding.ids, MAX_TOKENS, self.suffix) or [self._blank]
            # added tokens may be matched before the tokenizer's own normalizer runs
            for encoding in self._backend.encode_batch_fast([canonical(text) for text in texts])
        ]
        lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
        flat = np.fromiter((i for ids in sentences for i in ids), dtype=self.dtype, count=int(lengths.sum()))
        return flat, lengths

    def knows(self, texts: Sequence[str]) -> list[bool]:
        """Return, for each text, whether its tokens include no unknown token."""
        encodings = self._backend.encode_batch_fast([canonical(text) for text in texts])
        return [self.unknown_id is None or self.unknown_id not in encoding.ids for encoding in encodings]


def uncomposed_tokens(tokenizer: Tokenizer) -> list[str]:
    """Return the added tokens that a ``tokenizer.json`` misses in decomposed texts.

    Added tokens are matched in the raw text, before the normalizer composes it.
    """
    added = tokenizer.inner.added_tokens_decoder.values()
    return [token.content for token in added if not token.normalized and is_decomposable(token.content)]


def _compose_first(backend: Backend, state: dict[str, Any] | None) -> None:
    """Insert Unicode's composition before a tokenizer's own normalizer, given as in ``tokenizer.json``."""
    parts = [] if state is None else state["normalizers"] if state["type"] == "Sequence" else [state]
    if not parts or parts[0]["type"] != NORMAL_FORM:
        own = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizers.NFC(), *own])


def cut(ids: list[int], length: int, suffix: int) -> list[int]:
    """Cut ids to `length`, keeping the special tokens at the end."""
    return ids if len(ids) <= length else ids[: length - suffix] + ids[len(ids) - suffix :]
