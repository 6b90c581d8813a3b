"""The teacher's vocabulary: CLIP's byte pairs cut to the merges that the English words need."""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import open_clip.tokenizer
import torch

from themo.miniature import grammar
from themo.miniature.lexicon import BACKGROUNDS, COLOURS, RELATIONS, SHAPES, SIZES

CONTEXT_LENGTH = 28
"""Longest caption that the teacher reads, in tokens, with start and end of text."""


def english_words() -> list[str]:
    """Return every word that an English sentence of the miniature may hold, in lower case, sorted."""
    phrases: list[str] = [
        "a",
        "an",
        "one",
        "single",
        "two",
        "three",
        "on",
        "against",
        "background",
        "and",
        "is",
        "are",
    ]
    phrases += [
        noun for shape in SHAPES for names in shape.english for noun in (names.singular, names.plural)
    ]
    phrases += [word for table in (COLOURS, SIZES, BACKGROUNDS) for entry in table for word in entry.english]
    phrases += [phrase for relation in RELATIONS for phrase in (*relation.english, *relation.english_of)]
    for templates in (grammar.ENGLISH_ONE, grammar.ENGLISH_TOGETHER, grammar.ENGLISH_RELATED):
        phrases += [re.sub(r"\{\w+\}", " ", template) for template in templates]
    return sorted({word for phrase in phrases for word in phrase.split()})


def write_bpe(path: Path) -> None:
    """Write the merges of CLIP that `english_words` need, in CLIP's order, as open_clip reads them."""
    full = open_clip.tokenizer.SimpleTokenizer()
    needed = {merge for word in english_words() for merge in _merges(word, full.bpe_ranks)}
    lines = [
        "#version: 0.2",
        *(" ".join(merge) for merge in sorted(needed, key=lambda merge: full.bpe_ranks[merge])),
    ]
    # The reader takes every line after the first for a merge: no newline at the end. No time stamp either, so
    # that equal recipes write equal files.
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def encoder(bpe_path: Path) -> Callable[[Sequence[str]], torch.Tensor]:
    """Return a tokenizer that gives what open_clip's gives, cut to the longest text, many times faster.

    The texts hold the words of `english_words` and nothing else.
    """
    tokenizer = open_clip.tokenizer.SimpleTokenizer(bpe_path=str(bpe_path), context_length=CONTEXT_LENGTH)
    pieces = {word: tokenizer.encode(word) for word in english_words()}

    def encode(texts: Sequence[str]) -> torch.Tensor:
        """Return (T, longest) int64: token ids, 0 after the end of text."""
        rows = [
            [
                tokenizer.sot_token_id,
                *(piece for word in text.lower().split() for piece in pieces[word]),
                tokenizer.eot_token_id,
            ]
            for text in texts
        ]
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    return encode


def _merges(word: str, ranks: dict[tuple[str, str], int]) -> Iterable[tuple[str, str]]:
    """Yield the merges that byte-pair encoding applies to a word, first to last."""
    symbols = [*word[:-1], word[-1] + "</w>"]
    while len(symbols) > 1:
        pairs = list(itertools.pairwise(symbols))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            return
        yield best
        merged: list[str] = []
        while symbols:
            if tuple(symbols[:2]) == best:
                merged.append("".join(best))
                symbols = symbols[2:]
            else:
                merged.append(symbols[0])
                symbols = symbols[1:]
        symbols = merged
