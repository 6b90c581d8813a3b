"""The largest id of a tokenizer, and its refusal where the model has no row for it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from themo.errors import InputError


def largest_id(state: Mapping[str, Any]) -> int:
    """Return the largest id of a tokenizer; an id may be above the number of entries.

    Args:
        state: Content of its ``tokenizer.json``.
    """
    vocabulary = state["model"]["vocab"]
    ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))  # Unigram: a list
    return max(chain(ids, (token["id"] for token in state["added_tokens"])), default=-1)


def refuse_largest_id(what: str, largest: int, vocab_size: int, owner: str = "model") -> None:
    """Refuse a tokenizer whose ids lie beyond a model's vocabulary.

    Args:
        what: The model, for the message.
        largest: The tokenizer's largest id.
        vocab_size: Number of ids that the model knows, from 0.
        owner: What has the vocabulary, for the message.

    Raises:
        InputError: The largest id lies beyond the vocabulary.
    """
    if largest >= vocab_size:
        raise InputError(
            f"{what}: the tokenizer's ids must lie within the {owner}'s vocabulary of {vocab_size}, "
            f"got id {largest}"
        )
