from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import sentence_pairs

from themo.models import phrases
from themo.models.phrases import UNKNOWN, PhraseReader, build_tokenizer, learn_tokens

SENTENCES = [es for _, es in sentence_pairs()]
TOKENS = learn_tokens(SENTENCES, 120)
TOKENIZER = build_tokenizer(TOKENS)
READER = PhraseReader(TOKENIZER)


def read(reader: PhraseReader, texts: Sequence[str]) -> list[list[str]]:
    ids, starts = reader(texts)
    parts = np.split(ids, starts[1:]) if texts else []
    return [[TOKENS[i] for i in part] for part in parts]


def whole_tokens(texts: Sequence[str]) -> list[list[str]]:
    """Tokens of the tokenizer itself, without single characters and the unknown token."""
    return [
        [token for token in encoding.tokens if len(token) > 2 and token != UNKNOWN]
        for encoding in TOKENIZER.encode_batch(list(texts))
    ]


def test_tokens_are_characters_words_and_frequent_phrases() -> None:
    assert TOKENS[0] == UNKNOWN
    assert {"▁", "ñ", "▁gato▁", "▁pequeño▁"} <= set(TOKENS)
    assert "▁muy▁▁rojo▁" in TOKENS  # as often as "rojo" behind "muy"
    assert len(TOKENS) == len(set(TOKENS)) <= 120


def test_the_longest_phrase_from_the_left_is_read() -> None:
    tokens = [UNKNOWN, "▁", "a", "b", "c", "▁a▁", "▁b▁", "▁c▁", "▁a▁▁b▁", "▁b▁▁c▁", "▁a▁▁b▁▁c▁▁c▁"]
    tokenizer = build_tokenizer(tokens)
    ids, starts = PhraseReader(tokenizer)(["a b c", "a b c c", "b c"])
    assert [tokens[i] for i in ids] == ["▁a▁▁b▁", "▁c▁", "▁a▁▁b▁▁c▁▁c▁", "▁b▁▁c▁"]
    assert starts.tolist() == [0, 2, 3]


@given(
    st.lists(
        st.lists(st.sampled_from([*" \t.,ñXéz▁中", *SENTENCES[0].split(), "rojo", "muy "])).map(" ".join)
    )
)
@example(
    ["", " ", "el gato", "EL GATO, muy rojo.", "xel gato", "gatox el", "gato▁rojo", "jabali\u0301 viejo"]
)
def test_reads_what_the_tokenizer_reads(texts: list[str]) -> None:
    assert read(READER, texts) == whole_tokens(texts)


def test_a_trie_too_large_for_a_table_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrases, "_GREATEST_TABLE", 0)
    assert read(PhraseReader(TOKENIZER), SENTENCES) == read(READER, SENTENCES)


def test_few_tokens_are_the_most_frequent_words() -> None:
    letters = {letter for sentence in SENTENCES for letter in sentence if letter != " "}
    tokens = learn_tokens(SENTENCES, 1 + 1 + len(letters) + 2)
    assert tokens[-2:] == ["▁el▁", "▁muy▁"] or tokens[-1] == "▁el▁"
