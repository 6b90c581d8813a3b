"""Cleaning of sentence pairs: cheap rules over batches, with a count of every drop.

A rule looks at one pair and costs about a microsecond. The rules find plainly broken pairs of crawled
corpora, not fine differences. `themo.data.bitext` drops repeated pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from themo.models.normal_form import PERHAPS_DECOMPOSED, VISIBLE, canonical

Reason = Literal[
    "empty",
    "too long",
    "with unequal lengths",
    "in another language",
    "in the tests",
    "of test images",
    "duplicate",
    "in the validation pairs",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
"""Reasons for dropping a pair, in order of precedence: a pair counts under its first reason."""

KEPT = 0
"""Code of a kept pair; code i + 1 means ``REASONS[i]``."""

SLACK = 20
"""Characters added to both sides before taking their ratio, since short sentences differ by more."""

MAX_CHARACTERS = 10_000
"""Greatest length of a side: a longer one is no sentence but a file that lost its line ends."""

FOREIGN_WORDS = 2
"""Function words of the other language that make a side foreign, if they are also more than twice its own."""

SHORT = 5
"""Sides with fewer words need one more: the name of a place or a dish also has two."""

FOREIGN_LETTERS = 2
"""Letters of another script that make a side foreign, if they are also more than its Latin ones."""

_FOREIGN_LETTER = r"[^\P{L}\p{Latin}\p{Common}]"
_LETTER = r"\p{L}"

_TITLE_WORD = r"\p{Lu}[\p{L}\p{M}\p{N}'’.-]*"
_SMALL_WORDS = "of|the|and|a|an|in|on|at|for|to|with|from|by|de|la|el|los|las|del|y|en|por|con|para|un|una"
_TITLE = rf"{_TITLE_WORD}(?:[ ,:&]+(?:(?:{_SMALL_WORDS}) +){{0,3}}{_TITLE_WORD})+"
"""Capitalised words with small ones between them: a title or name, which is often not translated."""

_ENGLISH = "the and of is are was were that with this have has not they you for his her which would there"
_SPANISH = "el la los las de que y en un una es por con se su para como del al lo más está pero muy"


@dataclass(frozen=True)
class Rules:
    """Rules for dropping pairs, beside empty sides and sides longer than `MAX_CHARACTERS`.

    Attributes:
        max_length_ratio: Greatest ratio of characters, longer to shorter side, `SLACK` added to both; None:
            no limit.
        check_language: Drop pairs with a side in the other's language or another script, or two equal sides;
            titles, names and numbers may be equal.
    """

    max_length_ratio: float | None
    check_language: bool


def strip(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the texts in canonical form without surrounding white space; null becomes the empty string."""
    texts = [pc.fill_null(pc.utf8_trim_whitespace(_canonical(column)), "") for column in batch.columns]
    return pa.record_batch(texts, schema=batch.schema)


def _canonical(column: pa.Array) -> pa.Array:
    # Arrow's utf8_normalize does not compose letters and accents in NFC (pyarrow 25)
    mask = pc.fill_null(pc.match_substring_regex(column, PERHAPS_DECOMPOSED), False)
    texts = [canonical(text) for text in column.filter(mask).to_pylist()]
    return pc.replace_with_mask(column, mask, pa.array(texts, column.type)) if texts else column


def judge(batch: pa.RecordBatch, rules: Rules) -> npt.NDArray[np.uint8]:
    """Return the codes of B stripped pairs, (B,) uint8: `KEPT` or the reason for a drop."""
    en, es = batch.column("en"), batch.column("es")
    lengths = [np.asarray(pc.utf8_length(side), dtype=np.int64) for side in (en, es)]
    codes = np.full(len(batch), KEPT, dtype=np.uint8)
    if rules.check_language:
        codes[_in_another_language(en, es)] = code_of("in another language")
    if rules.max_length_ratio is not None:
        shorter, longer = np.minimum(*lengths) + SLACK, np.maximum(*lengths) + SLACK
        codes[longer > rules.max_length_ratio * shorter] = code_of("with unequal lengths")
    codes[np.maximum(*lengths) > MAX_CHARACTERS] = code_of("too long")
    codes[_is_blank(en) | _is_blank(es)] = code_of("empty")
    return codes


def code_of(reason: Reason) -> int:
    """Return the code of a reason."""
    return REASONS.index(reason) + 1


def _is_blank(side: pa.Array) -> npt.NDArray[np.bool_]:
    return ~np.asarray(pc.match_substring_regex(side, VISIBLE))


def _in_another_language(en: pa.Array, es: pa.Array) -> npt.NDArray[np.bool_]:
    foreign = _looks_foreign(en, es)
    if foreign.any():  # removing titles is slow, and few pairs need it
        chosen = pa.array(foreign)
        foreign[foreign] = _looks_foreign(*(_without_titles(side.filter(chosen)) for side in (en, es)))
    for side in (en, es):
        foreign |= _in_another_script(side)
    return foreign


def _looks_foreign(en: pa.Array, es: pa.Array) -> npt.NDArray[np.bool_]:
    foreign = np.zeros(len(en), dtype=np.bool_)
    n_words = []
    # here, not as constants: pyarrow imports pandas with its first array
    english, spanish = (pa.array(words.split(), pa.large_string()) for words in (_ENGLISH, _SPANISH))
    for side, own, other in ((en, english, spanish), (es, spanish, english)):
        words = pc.ascii_split_whitespace(pc.ascii_lower(side))
        n_words.append(np.asarray(pc.list_value_length(words), dtype=np.int64))
        n_other = _count(words, other)
        needed = FOREIGN_WORDS + (n_words[-1] < SHORT)
        foreign |= (n_other >= needed) & (n_other > 2 * _count(words, own))
    same = np.asarray(pc.equal(en, es)) & (n_words[0] > FOREIGN_WORDS)
    if same.any():  # numbers are the same in both languages
        words = pc.count_substring_regex(en.filter(pa.array(same)), r"\S*\p{L}\S*")
        same[same] = np.asarray(words) > FOREIGN_WORDS
    return foreign | same


def _without_titles(side: pa.Array) -> pa.Array:
    """Remove titles and names of several words; texts without small letters stay unchanged."""
    has_case = pc.match_substring_regex(side, r"\p{Ll}")
    return pc.if_else(has_case, pc.replace_substring_regex(side, _TITLE, ""), side)


def _in_another_script(side: pa.Array) -> npt.NDArray[np.bool_]:
    foreign: npt.NDArray[np.bool_] = _count_beyond_latin(side) >= FOREIGN_LETTERS
    if foreign.any():
        texts = side.filter(pa.array(foreign))
        n_foreign, n_letters = (
            np.asarray(pc.count_substring_regex(texts, letter), np.int64)
            for letter in (_FOREIGN_LETTER, _LETTER)
        )
        foreign[foreign] = (n_foreign >= FOREIGN_LETTERS) & (2 * n_foreign > n_letters)
    return foreign


def _count_beyond_latin(side: pa.Array) -> npt.NDArray[np.int64]:
    """Count each text's characters from U+0340 on, without U+2000 to U+2BFF.

    These include all letters of other scripts and few signs: a fast upper bound from UTF-8's bytes.
    """
    _, places, content = side.buffers()
    offsets = np.frombuffer(places, np.int64)[side.offset : side.offset + len(side) + 1]
    data = np.frombuffer(content or b"", np.uint8)[offsets[0] : offsets[-1]]
    beyond = np.flatnonzero(data >= 0xCD)  # first byte of such a character
    is_sign = (data[beyond] == 0xE2) & (data[beyond + 1] < 0xB0)
    rows = np.searchsorted(offsets, beyond[~is_sign] + offsets[0], side="right") - 1
    return np.bincount(rows, minlength=len(side))


def _count(words: pa.Array, wanted: pa.Array) -> npt.NDArray[np.int64]:
    """Count the words of each sentence that are in `wanted`."""
    hits = np.asarray(pc.is_in(pc.ascii_trim(words.values, ".,;:!?\"'()"), value_set=wanted))
    counts = np.concatenate([[0], np.cumsum(hits)])
    ends = np.asarray(words.offsets)
    found: npt.NDArray[np.int64] = counts[ends[1:]] - counts[ends[:-1]]
    return found


@dataclass(frozen=True)
class Drops:
    """Number of pairs that the cleaning dropped from a corpus, by reason.

    Attributes:
        name: Name of the corpus.
        read: Pairs in its files.
        dropped: Number of dropped pairs by reason, without zeros.
    """

    name: str
    read: int
    dropped: Mapping[str, int]

    @classmethod
    def count(cls, name: str, codes: npt.NDArray[np.uint8]) -> Drops:
        """Count the codes of all pairs of a corpus."""
        counts = np.bincount(codes, minlength=len(REASONS) + 1)[1:].tolist()
        return cls(name, len(codes), {r: n for r, n in zip(REASONS, counts, strict=True) if n})

    def __str__(self) -> str:
        kept = self.read - sum(self.dropped.values())
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.dropped.items())
        text = f"{self.name}: {kept:,} of {self.read:,} pairs kept" + (
            f"; dropped: {reasons}" if reasons else ""
        )
        is_swapped = 2 * self.dropped.get("in another language", 0) > self.read
        return text + (" (are its --columns English first, then Spanish?)" if is_swapped else "")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that ``Drops(**value)`` reads back."""
        return {"name": self.name, "read": self.read, "dropped": dict(self.dropped)}
