from __future__ import annotations

import random
from itertools import product
from pathlib import Path

import pytest
from enumeration import everything
from open_clip.tokenizer import SimpleTokenizer

from themo.miniature.grammar import Content, Group, english_sentence
from themo.miniature.vocabulary import CONTEXT_LENGTH, encoder, english_words, write_bpe


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bpe") / "bpe.txt.gz"
    write_bpe(path)
    return path


def random_contents(n: int) -> list[Content]:
    random_ = random.Random(0)

    def group() -> Group:
        return Group(
            random_.randrange(10),
            random_.randint(1, 3),
            random_.choice((None, 0, 4)),
            random_.choice((None, 1)),
        )

    return [
        Content(
            group(), random_.choice((None, group())), random_.choice((None, 0, 3)), random_.choice((None, 3))
        )
        for _ in range(n)
    ]


def test_the_cut_vocabulary_splits_words_like_the_full_one(bpe: Path) -> None:
    full, cut = SimpleTokenizer(), SimpleTokenizer(bpe_path=str(bpe))
    assert cut.vocab_size < 800
    for word in english_words():
        assert [cut.decoder[i] for i in cut.encode(word)] == [full.decoder[i] for i in full.encode(word)]


def test_the_fast_tokenizer_equals_open_clips_without_padding(bpe: Path) -> None:
    slow = SimpleTokenizer(bpe_path=str(bpe), context_length=CONTEXT_LENGTH)
    fast = encoder(bpe)
    texts = [
        english_sentence(content, random.Random(i).choice) for i, content in enumerate(random_contents(300))
    ]
    expected, found = slow(texts), fast(texts)
    assert found.shape[1] < CONTEXT_LENGTH
    assert (expected[:, : found.shape[1]] == found).all()
    assert not expected[:, found.shape[1] :].any()
    assert slow.eot_token_id == int(expected.max())


def test_the_longest_caption_fits_the_context(bpe: Path) -> None:
    encode = encoder(bpe)
    longest = 0
    for counts, relation, background in product([(1, 1), (1, 2), (2, 1), (2, 2)], range(4), (1, 3)):
        # The plural names of these two shapes alone are two tokens long.
        content = Content(Group(2, counts[0]), Group(8, counts[1]), relation, background)
        sentences = set(everything(lambda pick, content=content: english_sentence(content, pick)))
        longest = max(longest, encode(list(sentences)).shape[1])
    # Each of the two groups may tell a size and a colour as well, one token each.
    assert longest + 4 <= CONTEXT_LENGTH


def test_only_the_longest_plurals_are_two_tokens(bpe: Path) -> None:
    cut = SimpleTokenizer(bpe_path=str(bpe))
    assert {word: n for word in english_words() if (n := len(cut.encode(word))) > 1} == {
        "crescents": 2,
        "triangles": 2,
    }


def test_equal_vocabularies_are_equal_files(bpe: Path, tmp_path: Path) -> None:
    write_bpe(tmp_path / "again.gz")
    assert (tmp_path / "again.gz").read_bytes() == bpe.read_bytes()
