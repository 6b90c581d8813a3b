"""The normal forms of text: one for models, one for comparing sentences.

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
"""Regular expression (`re` and RE2) of characters that may be non-canonical; a text without them is
canonical. Below U+0300, and among dashes and quotation marks, no character combines or has two spellings."""

_WHITE_SPACE = "\\t-\\r\\x1c-\\x20\\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Characters of `str.isspace`, as part of a character class."""

_INVISIBLE = (
    "\\x00-\\x08\\x0e-\\x1b\\x7f-\\x84\\x86-\\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Control characters and Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), as part of a
character class: soft hyphen, zero-width space, word joiner, byte order mark and others."""

VISIBLE = f"[^{_WHITE_SPACE}{_INVISIBLE}]"
"""Regular expression (`re` and RE2) of visible characters."""

_A_VISIBLE = re.compile(VISIBLE)
_AN_INVISIBLE = re.compile(f"[{_INVISIBLE}]")

_PLAIN = re.compile("[ -~¡¿«»À-ÖØ-öø-ÿ]*")
"""Texts in compatibility form whose only white space is blanks."""

_ENDS = " " + "".join(
    chr(code)
    for code in range(0x3040)  # other scripts' is full-width Latin in the compatibility form, or not met here
    if unicodedata.category(chr(code)).startswith("P")
)


def canonical(text: str) -> str:
    """Return the canonical form of a text, equal for canonically equal texts."""
    return unicodedata.normalize(NORMAL_FORM, text)


def is_decomposable(text: str) -> bool:
    """Whether a text has a canonically equal one of more code points."""
    return not unicodedata.is_normalized("NFD", canonical(text))


def comparable(text: str) -> str:
    """Return the form of a text for comparison, to find test captions among training pairs.

    It ignores Unicode's compatibility form, case, white space, invisible characters and punctuation at the
    ends; a text of only punctuation keeps it. ``té`` and ``te`` stay different.
    """
    if _PLAIN.fullmatch(text):  # most sentences; three times as fast
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
    """Remove invisible and control characters from a text; white space stays."""
    return _AN_INVISIBLE.sub("", text)


def is_blank(text: str) -> bool:
    """Whether a text is empty or holds only white space and invisible characters."""
    return _A_VISIBLE.search(text) is None
