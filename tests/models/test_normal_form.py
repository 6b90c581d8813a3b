import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import example, given
from hypothesis import strategies as st

from themo.models.normal_form import (
    PERHAPS_DECOMPOSED,
    VISIBLE,
    canonical,
    comparable,
    is_blank,
    is_decomposable,
    strip_invisible,
)

LETTERS = "aábcdeéfghiíjklmnñoópqrstuúüvwxyzAÁEÉÑÓÚ0123456789€😀"
INVISIBLE = "\u00ad\u034f\u200b\u200c\u200d\u200e\u2060\u2066\ufe0f\ufeff\U000e0020\x00\x1b\x7f\x9f"
SPACES = " \t\n\u00a0\u2003\u2028\u3000\x85"
MARKS = ".,;:!?¡¿\"'«»“”‘’()[]…-–—"

words = st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=6)
edges = st.text(MARKS + SPACES + INVISIBLE, max_size=4)
gaps = st.text(SPACES + INVISIBLE, min_size=1, max_size=3).filter(lambda gap: any(map(str.isspace, gap)))


@given(st.text())
def test_canonically_equal_texts_are_one(text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert {canonical(form) for form in forms} == {canonical(text)}
    assert canonical(canonical(text)) == canonical(text)
    assert is_decomposable(text) == (len(set(forms)) == 2)


@given(st.data())
def test_spellings_of_a_sentence_are_comparable(data: st.DataObject) -> None:
    sentence = data.draw(words)
    plain = " ".join(sentence)
    spelt = data.draw(edges)
    for word in sentence:
        place = data.draw(st.integers(0, len(word)))
        spelt += word[:place] + data.draw(st.text(INVISIBLE, max_size=2)) + word[place:] + data.draw(gaps)
    spelt += data.draw(edges)
    case = data.draw(st.sampled_from([str, str.upper, str.lower, str.swapcase]))
    form = data.draw(st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
    assert comparable(unicodedata.normalize(form, case(spelt))) == comparable(plain)


@given(words, words)
@example(["té"], ["te"])
@example(["año"], ["ano"])
@example(["5"], ["5", "€"])
@example(["a", "b"], ["ab"])
def test_other_words_are_not_comparable(first: list[str], second: list[str]) -> None:
    same = [word.casefold() for word in first] == [word.casefold() for word in second]
    assert (comparable(" ".join(first)) == comparable(" ".join(second))) == same


def test_a_text_of_punctuation_keeps_it() -> None:
    assert comparable(" ¿? ") == "¿?"
    assert comparable("\u200b…") == "..."
    assert comparable("") == comparable(" \u200b") == ""


@given(st.text(LETTERS + INVISIBLE + SPACES, max_size=8))
@example("\u200b")
@example("\u2060\u3000")
@example("\x1c")
def test_blank_texts_hold_nothing_to_see(text: str) -> None:
    blank = not strip_invisible(text).strip()
    assert is_blank(text) == blank
    by_arrow = pc.match_substring_regex(pa.array([text], pa.large_string()), VISIBLE)
    assert by_arrow.to_pylist() == [not blank]


def test_letters_marks_and_symbols_can_be_seen() -> None:
    fillers = "\u115f\u1160"  # Hangul's, letters that nothing is drawn for
    seen = [c for c in map(chr, range(0x3000)) if unicodedata.category(c)[0] in "LNPS" and c not in fillers]
    assert len(seen) > 9_000
    assert not [character for character in seen if is_blank(character)]


@given(st.text(LETTERS + "n\u0303e\u0301\u0323\u2126\u212b\u2000\u3099…’—ﬁ", max_size=8))
def test_only_texts_with_a_suspect_character_are_decomposed(text: str) -> None:
    assert re.search(PERHAPS_DECOMPOSED, text) or canonical(text) == text


def test_no_plain_character_combines() -> None:
    plain = [c for c in map(chr, range(0x10000)) if not re.search(PERHAPS_DECOMPOSED, c)]
    assert len(plain) == 0x300 + 24
    assert not [c for c in plain if canonical(c) != c or unicodedata.combining(c)]
