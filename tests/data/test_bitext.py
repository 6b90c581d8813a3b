import random
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyarrow import parquet
from tiny import write_tsv

from themo.data.bitext import Bitext, Plan, open_bitexts
from themo.data.cleaning import Drops, Rules
from themo.data.corpora import Corpus
from themo.errors import InputError

Texts = list[tuple[str, str]]


def corpus(folder: Path, *contents: Texts) -> list[Corpus]:
    return [Corpus(f"c{i}", (write_tsv(folder / f"{i}.tsv", content),)) for i, content in enumerate(contents)]


def build(
    folder: Path,
    *contents: Texts,
    validation_pairs: int = 2,
    max_pairs: int | None = None,
    validation: Texts | None = None,
    test_texts: frozenset[str] = frozenset(),
) -> tuple[Bitext, Bitext, list[Drops]]:
    held = Corpus("held", (write_tsv(folder / "held.tsv", validation),)) if validation is not None else None
    rules = Rules(max_length_ratio=None, check_language=False)
    plan = Plan(corpus(folder, *contents), rules, held, validation_pairs, max_pairs, test_texts)
    out = folder / "built"
    out.mkdir()
    plan.build(out)
    return open_bitexts(out)


def texts(bitext: Bitext) -> Texts:
    english = [text for chunk in bitext.english() for text in chunk.to_pylist()]
    spanish = [text for chunk in bitext.spanish() for text in chunk.to_pylist()]
    assert len(set(english)) == len(english)
    assert len(spanish) == len(bitext) == len(bitext.rows) == len(bitext.english_ids)
    return [(english[i], es) for i, es in zip(bitext.english_ids, spanish, strict=True)]


bilingual = st.lists(
    st.tuples(st.integers(0, 12).map(str), st.integers(0, 5).map(str)), min_size=16, max_size=60, unique=True
)


@given(bilingual, st.integers(1, 8), st.randoms(use_true_random=False))
def test_split(
    tmp_path_factory: pytest.TempPathFactory, content: Texts, n: int, shuffler: random.Random
) -> None:
    try:
        train, held, _ = build(tmp_path_factory.mktemp("a"), content, validation_pairs=n)
    except InputError:
        n_largest = max(sum(en == other for other, _ in content) for en, _ in content)
        assume(len(content) >= 2 * n)
        assume(n_largest <= len(content) - n)
        raise
    assert sorted(texts(train) + texts(held)) == sorted(content)
    assert not {en for en, _ in texts(train)} & {en for en, _ in texts(held)}
    n_most = int(np.bincount(held.english_ids).max())  # at least the pairs of the last sentence
    assert n <= len(held) < n + n_most
    assert len(train) > 0
    shuffled = shuffler.sample(content, len(content))
    other_train, other_held, _ = build(tmp_path_factory.mktemp("b"), shuffled, validation_pairs=n)
    assert set(texts(other_held)) == set(texts(held))
    assert set(texts(other_train)) == set(texts(train))
    assert [shuffled[row] for row in other_held.rows] == texts(other_held)


def test_exactly_the_asked_pairs_are_held_out(tmp_path: Path) -> None:
    train, held, _ = build(tmp_path, [(f"e{i}", f"s{i}") for i in range(30)], validation_pairs=10)
    assert (len(train), len(held)) == (20, 10)


cells = st.sampled_from(["a", " a", "b\u3000", "", " ", "c d", "e"])


@given(st.lists(st.tuples(cells, st.sampled_from("xyz ")), min_size=1, max_size=30), st.integers(0, 30))
def test_empty_and_repeated_pairs_go(
    tmp_path_factory: pytest.TempPathFactory, content: Texts, cut: int
) -> None:
    """Also if the first one is in another corpus."""
    stripped = [(en.strip(), es.strip()) for en, es in content]
    kept = list(dict.fromkeys(pair for pair in stripped if all(pair)))
    parts = [part for part in (content[:cut], content[cut:]) if part]
    assume(kept)
    train, _, drops = build(tmp_path_factory.mktemp("c"), *parts, validation=[("v", "v")], validation_pairs=2)
    assert texts(train) == kept
    assert [stripped[row] for row in train.rows] == kept
    assert sum(train.sizes) == len(kept)
    assert len(train.sizes) == len(parts)
    assert sum(d.read for d in drops) == len(content)
    assert sum(sum(d.dropped.values()) for d in drops) == len(content) - len(kept)


def test_english_is_numbered_as_it_appears(tmp_path: Path) -> None:
    content = [("z", "1"), ("a", "2"), ("z", "3"), ("m", "4")]
    train, _, _ = build(tmp_path, content, validation=[("v", "v")])
    assert train.english_ids.tolist() == [0, 1, 0, 2]
    assert train.english_ids.dtype == np.int64


def test_max_pairs_is_a_choice_by_content(tmp_path: Path) -> None:
    content = [(str(i), str(i)) for i in range(100)]
    chosen, _, _ = build(tmp_path, content, validation=[("v", "v")], max_pairs=10)
    assert len(chosen) == 10
    assert chosen.rows.tolist() == sorted(set(chosen.rows.tolist()))
    (tmp_path / "other").mkdir()
    again, _, _ = build(tmp_path / "other", content[::-1], validation=[("v", "v")], max_pairs=10)
    assert set(texts(again)) == set(texts(chosen))


def test_captions_of_tests_are_kept_out_of_training_alone(tmp_path: Path) -> None:
    content = [("a cat", "un gato"), ("a dog", "un perro"), ("an owl", "un búho")]
    held_out = [("a cat", "el gato"), ("a fox", "un zorro")]
    train, held, drops = build(
        tmp_path, content, validation=held_out, validation_pairs=9, test_texts=frozenset({"a cat", "un búho"})
    )
    assert texts(train) == [("a dog", "un perro")]
    assert len(held) == 2
    assert str(drops[0]) == "c0: 1 of 3 pairs kept; dropped: 2 in the tests"


VARIANTS: list[Callable[[str], str]] = [
    str,
    str.lower,
    str.upper,
    lambda text: text.replace(" ", "  "),
    lambda text: f"{text}.",
    lambda text: f"«¡{text} !»",
    lambda text: text.replace(" ", "\u00a0"),
    lambda text: text.replace("o", "o\u200b"),
    partial(unicodedata.normalize, "NFD"),
    partial(unicodedata.normalize, "NFKD"),
]
"""Other ways to write the same sentence."""


@given(st.data())
def test_test_captions_in_any_spelling_are_kept_out(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    captions = [f"A small Dog runs {i} times." for i in range(5)] + [
        f"Un niño pequeño y su león {i}" for i in range(5)
    ]
    changes = data.draw(st.lists(st.lists(st.sampled_from(VARIANTS), max_size=3), min_size=10, max_size=10))
    spelt = [
        reduce(lambda text, change: change(text), each, c) for c, each in zip(captions, changes, strict=True)
    ]
    content = [(text, f"otra {i}") for i, text in enumerate(spelt[:5])]
    content += [(f"other {i}", text) for i, text in enumerate(spelt[5:])]
    content += [("A small dog runs", "Un nino pequeno y su leon 1")]
    folder = tmp_path_factory.mktemp("leaks")
    train, _, drops = build(folder, content, validation=[("v", "v")], test_texts=frozenset(captions))
    assert texts(train) == content[-1:]
    assert drops[0].dropped == {"in the tests": 10}


def test_composed_and_decomposed_copies_are_one_pair(tmp_path: Path) -> None:
    content = [("a small boy", "un niño pequeño"), ("the café", "el café"), ("The café", "el café")]
    decomposed = [(unicodedata.normalize("NFD", en), unicodedata.normalize("NFD", es)) for en, es in content]
    train, held, drops = build(tmp_path, decomposed, content, validation=[("cafe\u0301s", "cafe\u0301s")])
    assert texts(train) == content
    assert texts(held) == [("cafés", "cafés")]
    assert [each.dropped for each in drops] == [{}, {"duplicate": 3}]


@pytest.mark.parametrize("from_file", [True, False])
def test_spellings_of_an_english_sentence_stay_on_one_side(tmp_path: Path, from_file: bool) -> None:
    spelt = [[change(f"The Café {i}") for change in VARIANTS] for i in range(8)]
    content = [(en, f"{i} {j}") for i, each in enumerate(spelt) for j, en in enumerate(each)]
    held_out = [(spelt[0][0], "a"), (spelt[3][4], "b")] if from_file else None
    train, held, _ = build(tmp_path, content, validation=held_out, validation_pairs=20)
    sides = [{next(filter(str.isdigit, en)) for en, _ in texts(part)} for part in (train, held)]
    assert sides[0] & sides[1] == set()
    assert len(sides[0] | sides[1]) == 8


def test_english_of_a_validation_file_is_kept_out_of_training(tmp_path: Path) -> None:
    content = [("a cat", "un gato"), ("a dog", "un perro"), ("a cat", "una gata"), ("an owl", "un búho")]
    content.append(("a tomcat", "el gato"))  # held-out Spanish, but other English: stays
    held_out = [("a cat", "el gato"), ("an owl", "la lechuza"), ("", "nada")]
    train, held, drops = build(tmp_path, content, validation=held_out, validation_pairs=9)
    assert texts(train) == [("a dog", "un perro"), ("a tomcat", "el gato")]
    assert texts(held) == held_out[:2]
    assert [str(each).partition(": ")[2] for each in drops] == [
        "2 of 5 pairs kept; dropped: 3 in the validation pairs",
        "2 of 3 pairs kept; dropped: 1 empty",
    ]


def test_only_used_validation_pairs_leave_the_training(tmp_path: Path) -> None:
    content, held_out = ([(f"e{i}", f"{es}{i}") for i in range(30)] for es in "st")
    train, held, _ = build(tmp_path, content, validation=held_out, validation_pairs=10)
    assert (len(train), len(held)) == (20, 10)
    assert not {en for en, _ in texts(train)} & {en for en, _ in texts(held)}


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_captions_of_images_of_tests_are_kept_out(tmp_path: Path, suffix: str) -> None:
    rows = [
        ("a", "x", "COCO_train2014_000000000042.jpg"),
        ("b", "y", "42"),
        ("c", "z", "COCO_val2014_000000000142.jpg"),
        ("d", "w", ""),
        ("e", "v", "42.0"),
        ("f", "u", "train2014/COCO_train2014_000000000042.jpg"),
    ]
    path = tmp_path / f"captions{suffix}"
    if suffix == ".tsv":
        path.write_text("\n".join("\t".join(row) for row in [("en", "es", "image"), *rows]) + "\n")
    else:
        parquet.write_table(
            pa.table(dict(zip(("en", "es", "image"), zip(*rows, strict=True), strict=True))), path
        )
    apart = Corpus("held", (write_tsv(tmp_path / "held.tsv", [("v", "v"), ("u", "u")]),))
    captions = Corpus("captions", (path,), image_column="image")
    rules = Rules(max_length_ratio=None, check_language=False)
    plan = Plan([captions], rules, apart, 2, None, frozenset(), frozenset({"42"}))
    (tmp_path / "built").mkdir()
    plan.build(tmp_path / "built")
    train, _, drops = open_bitexts(tmp_path / "built")
    assert texts(train) == [("c", "z"), ("d", "w")]
    assert str(drops[0]) == "captions: 2 of 6 pairs kept; dropped: 4 of test images"


def test_a_corpus_of_dropped_pairs_says_why(tmp_path: Path) -> None:
    rule = (
        r"^data\.corpus: .* one usable pair, but all were dropped \(.*0 of 2 pairs kept; dropped: 2 empty\)$"
    )
    with pytest.raises(InputError, match=rule):
        build(tmp_path, [("", "a"), ("b", "")], validation_pairs=5)


def test_split_of_too_few(tmp_path: Path) -> None:
    content = [(f"e{i}", f"s{i}") for i in range(9)]
    with pytest.raises(
        InputError, match=r"^data.validation_pairs must be at most half of the 9 pairs, got 5: give fewer"
    ):
        build(tmp_path, content, validation_pairs=5)


def test_split_of_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must leave pairs to train on, got 2 for 10 pairs of only 1"):
        build(tmp_path, [("same", str(i)) for i in range(10)])


def test_the_digest_is_of_all_that_matters(tmp_path: Path) -> None:
    base = Plan(corpus(tmp_path, [("a", "b")]), Rules(3.0, True), None, 2, None, frozenset())
    others = [
        Plan(corpus(tmp_path / "x", [("a", "c")]), base.rules, None, 2, None, frozenset()),
        Plan(base.corpora, Rules(2.0, True), None, 2, None, frozenset()),
        Plan(base.corpora, base.rules, base.corpora[0], 2, None, frozenset()),
        Plan(base.corpora, base.rules, None, 3, None, frozenset()),
        Plan(base.corpora, base.rules, None, 2, 5, frozenset()),
        Plan(base.corpora, base.rules, None, 2, None, frozenset({"a"})),
        Plan(base.corpora, base.rules, None, 2, None, frozenset(), frozenset({"a"})),
        Plan([replace(base.corpora[0], image_column="i")], base.rules, None, 2, None, frozenset()),
        Plan([replace(base.corpora[0], only=("c", "es"))], base.rules, None, 2, None, frozenset()),
    ]
    assert len({str(plan.digest()) for plan in [base, *others]}) == 1 + len(others)
