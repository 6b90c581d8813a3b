"""The normal forms of text: one that models read, one that tells whether two sentences are the same.

Models read `canonical` text: to a tokenizer, an ``ñ`` of two code points (n and a tilde, as macOS has it in
file names) is another token than an ``ñ`` of one, or unknown. Sentences are compared in their `comparable`
form, which also ignores case, white space, invisible characters and punctuation at the ends; accents count.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal

NORMAL_FORM: Final[Literal["NFC"]] = "NFC"
"""Unicode's canonical composition (Unicode Standard Annex 15), by its name in every library."""

PERHAPS_DECOMPOSED = "[^\\x00-\u02ff\u2010-\u2027]"
"""A character without which a text is in canonical form, as a regular expression of `re` and of RE2; below
U+0300, and among dashes and quotation marks, nothing combines and nothing is written in two ways."""

_WHITE_SPACE = "\\t-\\r\\x1c-\\x20\\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""What `str.isspace` holds for, as part of a character class."""

_INVISIBLE = (
    "\\x00-\\x08\\x0e-\\x1b\\x7f-\\x84\\x86-\\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Control characters and Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), as part of a
character class: soft hyphen, zero-width space, word joiner, byte order mark and their like."""

VISIBLE = f"[^{_WHITE_SPACE}{_INVISIBLE}]"
"""A character that can be seen; a regular expression of Python's `re` and of Arrow's RE2."""

_A_VISIBLE = re.compile(VISIBLE)
_AN_INVISIBLE = re.compile(f"[{_INVISIBLE}]")

_PLAIN = re.compile("[ -~¡¿«»À-ÖØ-öø-ÿ]*")
"""Texts that are in compatibility form and hold no white space but blanks."""

_ENDS = " " + "".join(
    chr(code)
    for code in range(0x3040)  # other scripts' is full-width Latin in the compatibility form, or not met here
    if unicodedata.category(chr(code)).startswith("P")
)


def canonical(text: str) -> str:
    """A text as models read it: canonically equal texts are the same string."""
    return unicodedata.normalize(NORMAL_FORM, text)


def is_decomposable(text: str) -> bool:
    """Whether a text has a canonically equal one of more code points."""
    return not unicodedata.is_normalized("NFD", canonical(text))


def comparable(text: str) -> str:
    """A text as it is compared with others, to find test captions among training pairs.

    Equal for texts that differ by Unicode's compatibility form, case, white space, invisible characters, or
    punctuation at their ends; a text of punctuation alone keeps it. ``té`` and ``te`` stay apart.
    """
    if _PLAIN.fullmatch(text):  # most sentences; the way below takes three times as long
        words = text.casefold()
        if "  " in words:
            words = " ".join(words.split())
    else:
        compatible = unicodedata.normalize("NFKC", strip_invisible(text))
        words = " ".join(unicodedata.normalize("NFKC", compatible.casefold()).split())
    if words[:1].isalnum() and words[-1:].isalnum():
        return words
    return words.strip(_ENDS) or words.strip()


def strip_invisible(text: str) -> str:
    """A text without invisible and control characters; white space stays."""
    return _AN_INVISIBLE.sub("", text)


def is_blank(text: str) -> bool:
    """Whether nothing in a text can be seen: it is empty, or of white space and invisible characters."""
    return _A_VISIBLE.search(text) is None
