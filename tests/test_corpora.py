import contextlib
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyarrow import parquet

from themo.corpora import Pairs, clean, digest_texts, read_pairs, sample, split
from themo.errors import InputError

DEFAULT = ("en", "es")
Texts = list[tuple[str, str]]

# All of Unicode but what a TSV cannot hold, and lone surrogates, which UTF-8 cannot.
cells = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\t\n\r"), min_size=1, max_size=12
)
rows = st.lists(st.tuples(cells, cells), min_size=1, max_size=20)


def texts(pairs: Pairs) -> Texts:
    return list(zip(pairs.en.to_pylist(), pairs.es.to_pylist(), strict=True))


def pairs_of(content: Texts) -> Pairs:
    en, es = (pa.array([pair[i] for pair in content], pa.large_string()) for i in (0, 1))
    return Pairs(en, es, np.arange(len(content)))


def tsv(folder: Path, content: str | bytes, name: str = "pairs.tsv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, columns: tuple[str, str] = DEFAULT) -> str:
    with pytest.raises(InputError) as caught:
        read_pairs([path], columns)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value).replace(str(path.parent) + "/", "")


@given(rows, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_tsv_gives_back_what_was_written(content: Texts, newline: str, has_header: bool) -> None:
    lines = [*(["en\tes"] if has_header else []), *("\t".join(pair) for pair in content)]
    with tempfile.TemporaryDirectory() as folder:
        path = tsv(Path(folder), newline.join(lines) + newline)
        read = read_pairs([path], DEFAULT)
    expected = content if has_header or set(DEFAULT) - set(content[0]) else content[1:]
    if not has_header and content[0][0].startswith("\ufeff"):
        expected = [(content[0][0][1:], content[0][1]), *content[1:]]  # a byte order mark
    assert texts(read) == expected
    assert read.rows.tolist() == list(range(len(expected)))


@given(st.lists(st.tuples(st.none() | st.text(max_size=5), st.none() | st.text(max_size=5)), min_size=1))
def test_a_parquet_gives_back_what_was_written(content: list[tuple[str | None, str | None]]) -> None:
    content = [
        tuple(t if t is None else t.encode("utf-8", "replace").decode() for t in pair)  # type: ignore[misc]
        for pair in content
    ]
    table = pa.table(
        {
            "es": pa.array([es for _, es in content], pa.string()),
            "score": np.arange(len(content)),
            "en": pa.array([en for en, _ in content], pa.large_string()),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.parquet"
        parquet.write_table(table, path)
        assert texts(read_pairs([path], DEFAULT)) == content


def test_columns_by_name_in_any_order_and_by_number(tmp_path: Path) -> None:
    named = tsv(tmp_path, "id\tspanish\tenglish\n1\tuno\tone\n2\tdos\ttwo\n")
    assert texts(read_pairs([named], ("english", "spanish"))) == [("one", "uno"), ("two", "dos")]
    bare = tsv(tmp_path, "1\tuno\tone\n2\tdos\ttwo\n", "bare.tsv")
    assert texts(read_pairs([bare], ("3", "2"))) == [("one", "uno"), ("two", "dos")]


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    paths = [tsv(tmp_path, f"en\tes\n{i} en\t{i} es\n", f"{i}.tsv") for i in range(3)]
    read = read_pairs(paths, DEFAULT)
    assert read.en.to_pylist() == ["0 en", "1 en", "2 en"]
    assert read.rows.tolist() == [0, 1, 2]


def test_quotes_have_no_meaning(tmp_path: Path) -> None:
    path = tsv(tmp_path, 'en\tes\n"Stop\t"Alto\nhe said "no"\tdijo "no"\nnull\tNA\n')
    assert texts(read_pairs([path], DEFAULT)) == [
        ('"Stop', '"Alto'),
        ('he said "no"', 'dijo "no"'),
        ("null", "NA"),
    ]


def test_a_byte_order_mark_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    path = tsv(tmp_path, "\ufeffen\tes\n\na\tb\n\n\nc\td")
    assert texts(read_pairs([path], DEFAULT)) == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (b"", DEFAULT, "corpus pairs.tsv: must hold at least one sentence pair, the file is empty"),
        (b"en\tes\n", DEFAULT, "corpus pairs.tsv: must hold at least one sentence pair, got none"),
        (b"en\tes\na\tb\nc\td\te\n", DEFAULT, "corpus pairs.tsv:3: must have 2 columns, got 3"),
        (b"en\tes\n\na\tb\n\nc\n", DEFAULT, "corpus pairs.tsv:5: must have 2 columns, got 1"),
        (b"en\tes\na\tb\nc\t\xf1o\n", DEFAULT, "corpus pairs.tsv:3: must be UTF-8, got byte 0xf1"),
        (
            b"a\tb\tc\n",
            DEFAULT,
            "--columns must name two columns of the header or count them from 1, got en,es",
        ),
        (b"a\tb\n", ("en", "fr"), "got en,fr for a first line of 2 columns"),
        (b"a\tb\n", ("1", "3"), "got 1,3 for a first line of 2 columns"),
        (b"a\tb\n", ("0", "1"), "got 0,1 for a first line of 2 columns"),
        (b"a\tb\n", ("1", "\xb2"), "got 1,\xb2 for a first line of 2 columns"),
        (b"a\tb\n", ("01", "2"), "got 01,2 for a first line of 2 columns"),
        (b"one column\n", DEFAULT, "for a first line of 1 columns"),
    ],
)
def test_refusals_of_a_tsv(tmp_path: Path, content: bytes, columns: tuple[str, str], message: str) -> None:
    assert message in refusal(tsv(tmp_path, content), columns)


def test_the_line_of_a_bad_byte_is_found_far_down(tmp_path: Path) -> None:
    lines = [b"en\tes", *(b"a\tb" for _ in range(5000)), b"caf\xe9\tcaf", b"c\td"]
    assert refusal(tsv(tmp_path, b"\n".join(lines))) == "corpus pairs.tsv:5002: must be UTF-8, got byte 0xe9"


def test_refusals_of_a_parquet(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    path.write_text("en\tes\na\tb\n", encoding="utf-8")
    assert refusal(path) == "corpus pairs.parquet: is not a Parquet file"
    parquet.write_table(pa.table({"en": ["a"], "fr": ["b"]}), path)
    assert refusal(path) == "corpus pairs.parquet: --columns names es, but the file has en, fr"
    parquet.write_table(pa.table({"en": ["a"], "es": [1]}), path)
    assert refusal(path) == "corpus pairs.parquet: column es must hold text, got int64"
    parquet.write_table(pa.table({"en": pa.array([], pa.string()), "es": pa.array([], pa.string())}), path)
    assert refusal(path) == "corpus pairs.parquet: must hold at least one sentence pair, got none"


def test_a_truncated_parquet(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    parquet.write_table(pa.table({"en": ["a" * 500] * 90, "es": ["b"] * 90}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path) == "corpus pairs.parquet: is not a Parquet file"
    path.write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])  # damaged pages, good footer
    assert refusal(path).startswith("corpus pairs.parquet: ")


def test_missing_files(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nosuch.tsv") == "corpus nosuch.tsv: no such file"
    assert refusal(tmp_path) == f"corpus {tmp_path.name}: no such file"


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without the right to read everything, where the tests run as root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("mode", [0o000, 0o755])
def test_unreadable_files(mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = tsv(Path(folder), "en\tes\na\tb\n")
        path.chmod(0o000)
        Path(folder).chmod(0o755)
        if mode == 0o000:
            Path(folder).chmod(mode)
        try:
            with as_nobody():
                message = refusal(path)
        finally:
            Path(folder).chmod(0o700)
    assert message == "corpus pairs.tsv: cannot be read: Permission denied"


dirty = st.lists(st.tuples(st.sampled_from(["a", " a", "b\u3000", "", " ", "c d"]), st.sampled_from("xyz ")))


@given(dirty)
def test_clean_strips_and_drops_empty_and_repeated_pairs(content: Texts) -> None:
    cleaned, drops = clean(pairs_of(content))
    stripped = [(en.strip(), es.strip()) for en, es in content]
    full = [pair for pair in stripped if all(pair)]
    assert texts(cleaned) == list(dict.fromkeys(full))
    assert [stripped[row] for row in cleaned.rows] == texts(cleaned)
    assert (drops.read, drops.empty) == (len(content), len(content) - len(full))
    assert drops.duplicate == len(full) - len(cleaned)


def test_clean_takes_null_for_empty() -> None:
    column = pa.array(["a", None, "c"], pa.large_string())
    cleaned, drops = clean(Pairs(column, pa.array(["x", "y", None], pa.large_string()), np.arange(3)))
    assert texts(cleaned) == [("a", "x")]
    assert str(drops) == "1 of 3 pairs kept: 2 empty, 0 duplicate"


bilingual = st.lists(
    st.tuples(st.integers(0, 12).map(str), st.integers(0, 5).map(str)), min_size=2, max_size=60, unique=True
)


@given(bilingual, st.integers(1, 20), st.randoms(use_true_random=False))
def test_split(content: Texts, validation_pairs: int, shuffler: random.Random) -> None:
    try:
        train, held = split(pairs_of(content), validation_pairs)
    except InputError:
        n_largest = max(sum(en == other for other, _ in content) for en, _ in content)
        assume(len(content) >= 2 * validation_pairs)
        assume(n_largest <= len(content) - validation_pairs)
        raise
    assert sorted(texts(train) + texts(held)) == sorted(content)
    assert not set(train.en.to_pylist()) & set(held.en.to_pylist())
    assert len(held) >= validation_pairs
    assert len(train) > 0
    shuffled = shuffler.sample(content, len(content))
    other_train, other_held = split(pairs_of(shuffled), validation_pairs)
    assert set(texts(other_held)) == set(texts(held))
    assert set(texts(other_train)) == set(texts(train))
    assert [shuffled[row] for row in other_held.rows] == texts(other_held)


def test_split_of_too_few() -> None:
    content = [(f"e{i}", f"s{i}") for i in range(9)]
    with pytest.raises(
        InputError, match=r"^data.validation_pairs must be at most half of the 9 pairs, got 5$"
    ):
        split(pairs_of(content), 5)


def test_split_of_one_sentence() -> None:
    with pytest.raises(InputError, match=r"must leave pairs to train on, got 2 for 10 pairs of only 1"):
        split(pairs_of([("same", str(i)) for i in range(10)]), 2)


def test_sample() -> None:
    pairs = pairs_of([(str(i), str(i)) for i in range(100)])
    chosen = sample(pairs, 10)
    assert len(chosen) == 10
    assert chosen.rows.tolist() == sorted(set(chosen.rows.tolist()))
    assert texts(sample(pairs, 10)) == texts(chosen)
    assert sample(pairs, 100) is pairs


def test_english_ids() -> None:
    ids = pairs_of([("a", "x"), ("b", "y"), ("a", "z")]).english_ids()
    assert ids.dtype == np.int64
    assert ids[0] == ids[2] != ids[1]


@given(st.lists(st.text(max_size=4), min_size=1, max_size=8), st.integers(0, 8), st.data())
def test_digest_is_of_the_content_alone(words: list[str], start: int, data: st.DataObject) -> None:
    words = [w.encode("utf-8", "replace").decode() for w in words]
    whole = pa.array([*words[:start], *words], pa.large_string())
    assert digest_texts(whole.slice(min(start, len(words)))) == digest_texts(
        pa.array(words, pa.large_string())
    )
    assert digest_texts(pa.array(words, pa.string())) == digest_texts(pa.array(words, pa.large_string()))
    other = data.draw(st.permutations(words))
    assert (digest_texts(pa.array(other, pa.string())) == digest_texts(pa.array(words, pa.string()))) == (
        other == words
    )


def test_digest_knows_where_texts_end() -> None:
    assert digest_texts(pa.array(["ab", "c"])) != digest_texts(pa.array(["a", "bc"]))
