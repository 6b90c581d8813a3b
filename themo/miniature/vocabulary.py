"""The teacher's vocabulary: CLIP's byte pairs cut to the merges that the English words need."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from themo.miniature import grammar
from themo.miniature.lexicon import BACKGROUNDS, COLOURS, RELATIONS, SHAPES, SIZES

CONTEXT_LENGTH = 28
"""Longest caption of the teacher, in tokens with start and end of text."""


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
    ranks = _read_ranks(_clip_bpe())
    needed = {merge for word in english_words() for merge in _merges(word, ranks)}
    lines = ["#version: 0.2", *(" ".join(merge) for merge in sorted(needed, key=lambda merge: ranks[merge]))]
    # open_clip takes every line after the first for a merge: no newline at the end; no time stamp either, so
    # that equal recipes write equal files
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def vocabulary_size(bpe_path: Path) -> int:
    """Return the number of token ids; the highest is the end of text."""
    return _N_BYTE_SYMBOLS + len(_read_ranks(bpe_path)) + 2


def encoder(bpe_path: Path) -> Callable[[Sequence[str]], torch.Tensor]:
    """Return a tokenizer equal to open_clip's, with ids cut to the longest text, many times faster.

    Texts may hold only words of `english_words`.
    """
    ranks = _read_ranks(bpe_path)
    ids = _ids(ranks)
    pieces = {word: [ids[symbol] for symbol in _split(word, ranks)] for word in english_words()}
    end = vocabulary_size(bpe_path) - 1

    def encode(texts: Sequence[str]) -> torch.Tensor:
        """Return (T, longest) int64: token ids, 0 after the end of text."""
        rows = [
            [end - 1, *(piece for word in text.lower().split() for piece in pieces[word]), end]
            for text in texts
        ]
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    return encode


Merge = tuple[str, str]

_N_BYTE_SYMBOLS = 512
"""Ids of CLIP's 256 bytes and of the same bytes at the end of a word; merges follow, then two special ids."""
_LONGEST_BPE = 49_152 - 256 - 2
"""Number of merges in CLIP's file; later lines are ignored."""


def _clip_bpe() -> Path:
    """Return open_clip's file of merges, without the slow import of open_clip."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'open_clip'", name="open_clip")
    return Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")


def _read_ranks(path: Path) -> dict[Merge, int]:
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : _LONGEST_BPE + 1]
    pairs = (line.split() for line in lines)
    return {(first, second): rank for rank, (first, second) in enumerate(pairs)}


def _ids(ranks: dict[Merge, int]) -> dict[str, int]:
    """Return the id of every symbol of words in visible ASCII."""
    letters = {chr(code): code - ord("!") for code in range(ord("!"), ord("~") + 1)}  # CLIP's first bytes
    last_letters = {f"{letter}</w>": 256 + number for letter, number in letters.items()}
    made = {first + second: _N_BYTE_SYMBOLS + rank for (first, second), rank in ranks.items()}
    return letters | last_letters | made


def _split(word: str, ranks: dict[Merge, int]) -> list[str]:
    """Return the symbols of a word after all merges."""
    symbols = [*word[:-1], word[-1] + "</w>"]
    for merge in _merges(word, ranks):
        symbols = _merged(symbols, merge)
    return symbols


def _merges(word: str, ranks: dict[Merge, int]) -> Iterable[Merge]:
    """Yield the merges that byte-pair encoding applies to a word, first to last."""
    symbols = [*word[:-1], word[-1] + "</w>"]
    while len(symbols) > 1:
        pairs = list(itertools.pairwise(symbols))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            return
        yield best
        symbols = _merged(symbols, best)


def _merged(symbols: list[str], merge: Merge) -> list[str]:
    """Return the symbols with every occurrence of a pair merged."""
    merged: list[str] = []
    while symbols:
        if tuple(symbols[:2]) == merge:
            merged.append("".join(merge))
            symbols = symbols[2:]
        else:
            merged.append(symbols[0])
            symbols = symbols[1:]
    return merged
