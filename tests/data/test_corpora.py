import bz2
import contextlib
import csv
import gzip
import io
import lzma
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from themo.data import corpora
from themo.data import tsv as corpora_tsv
from themo.data.cleaning import MAX_CHARACTERS
from themo.data.corpora import Corpus
from themo.errors import InputError

DEFAULT = ("en", "es")
Texts = list[tuple[str, str]]

# All of Unicode but what a TSV cannot hold, and lone surrogates, which UTF-8 cannot.
cells = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\t\n\r"), min_size=1, max_size=12
)
rows = st.lists(st.tuples(cells, cells), min_size=1, max_size=20)


def read(paths: list[Path], columns: tuple[str, str] = DEFAULT) -> Texts:
    batches = list(Corpus("own", tuple(paths), columns).batches())
    return [pair for b in batches for pair in zip(*(side.to_pylist() for side in b.columns), strict=True)]


def tsv(folder: Path, content: str | bytes, name: str = "pairs.tsv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, columns: tuple[str, str] = DEFAULT) -> str:
    with pytest.raises(InputError) as caught:
        read([path], columns)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value).replace(str(path.parent) + "/", "")


@given(rows, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_tsv_round_trips(content: Texts, newline: str, has_header: bool) -> None:
    content = [*content, ('a "word"', "una")]  # so no field is quoted as a whole
    lines = [*(["en\tes"] if has_header else []), *("\t".join(pair) for pair in content)]
    with tempfile.TemporaryDirectory() as folder:
        path = tsv(Path(folder), newline.join(lines) + newline)
        given = read([path])
    expected = content if has_header or set(DEFAULT) - set(content[0]) else content[1:]
    if not has_header and content[0][0].startswith("\ufeff"):
        expected = [(content[0][0][1:], content[0][1]), *content[1:]]  # a byte order mark
    assert given == expected


@given(st.lists(st.tuples(st.none() | st.text(max_size=5), st.none() | st.text(max_size=5)), min_size=1))
def test_a_parquet_file_round_trips(content: list[tuple[str | None, str | None]]) -> None:
    content = [
        tuple(t if t is None else t.encode("utf-8", "replace").decode() for t in pair)  # type: ignore[misc]
        for pair in content
    ]
    table = pa.table(
        {
            "es": pa.array([es for _, es in content], pa.string()),
            "score": list(range(len(content))),
            "en": pa.array([en for en, _ in content], pa.large_string()),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.parquet"
        parquet.write_table(table, path)
        assert read([path]) == content


def test_columns_by_name_in_any_order_and_by_number(tmp_path: Path) -> None:
    named = tsv(tmp_path, "id\tspanish\tenglish\n1\tuno\tone\n2\tdos\ttwo\n")
    assert read([named], ("english", "spanish")) == [("one", "uno"), ("two", "dos")]
    bare = tsv(tmp_path, "1\tuno\tone\n2\tdos\ttwo\n", "bare.tsv")
    assert read([bare], ("3", "2")) == [("one", "uno"), ("two", "dos")]


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    paths = [tsv(tmp_path, f"en\tes\n{i} en\t{i} es\n", f"{i}.tsv") for i in range(3)]
    assert [en for en, _ in read(paths)] == ["0 en", "1 en", "2 en"]


def test_quotes_have_no_meaning(tmp_path: Path) -> None:
    path = tsv(tmp_path, 'en\tes\n"Stop\t"Alto\nhe said "no"\tdijo "no"\nnull\tNA\n')
    assert read([path]) == [
        ('"Stop', '"Alto'),
        ('he said "no"', 'dijo "no"'),
        ("null", "NA"),
    ]


def test_a_byte_order_mark_and_empty_lines_are_passed_over(tmp_path: Path) -> None:
    path = tsv(tmp_path, "\ufeffen\tes\n\na\tb\n\n\nc\td")
    assert read([path]) == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (b"", DEFAULT, "corpus pairs.tsv: must contain at least one sentence pair, but is empty"),
        (b"en\tes\n", DEFAULT, "corpus pairs.tsv: must contain at least one sentence pair, got none"),
        (b"en\tes\na\tb\nc\td\te\n", DEFAULT, "corpus pairs.tsv:3: must have 2 columns, got 3"),
        (
            b"en\tes\n" + b"a\nb\tc\n" * 7,
            DEFAULT,
            "corpus pairs.tsv:2: must have 2 columns, got 1; 7 such lines: 2, 4, 6, 8, 10, ...",
        ),
        (
            b"en\tes\na\n\nb\tc\td\ne\tf\xff\n",
            DEFAULT,
            "corpus pairs.tsv:2: must have 2 columns, got 1; 2 such lines: 2, 4",
        ),
        (b"en\tes\n\na\tb\n\nc\n", DEFAULT, "corpus pairs.tsv:5: must have 2 columns, got 1"),
        (b"en\tes\na\tb\nc\t\xf1o\n", DEFAULT, "corpus pairs.tsv:3: must be UTF-8, got byte 0xf1"),
        (
            b"a\tb\tc\n",
            DEFAULT,
            "--columns must name two columns of the header or count them from 1, got en,es",
        ),
        (
            b"English\tSpanish\na\tb\n",
            DEFAULT,
            "corpus pairs.tsv: --columns names en,es, but its header has English,Spanish: --columns "
            "English,Spanish reads these as English and Spanish, --columns 1,2 takes the header for a pair",
        ),
        (b"caption\tes\na\tb\n", DEFAULT, "but its header has caption,es: "),
        (b"a\tb\n", ("en", "fr"), "got en,fr for a first line of 2 columns: a | b"),
        (b"a\tb\n", ("1", "3"), "got 1,3 for a first line of 2 columns"),
        (b"a\tb\n", ("0", "1"), "got 0,1 for a first line of 2 columns"),
        (b"a\tb\n", ("1", "\xb2"), "got 1,\xb2 for a first line of 2 columns"),
        (b"a\tb\n", ("01", "2"), "got 01,2 for a first line of 2 columns"),
        (
            b"en,es\nthe boy,el chico\n",
            DEFAULT,
            "corpus pairs.tsv: must be tab-separated or Parquet, got a first line without a tab: en,es",
        ),
    ],
)
def test_refusals_of_a_tsv(tmp_path: Path, content: bytes, columns: tuple[str, str], message: str) -> None:
    assert message in refusal(tsv(tmp_path, content), columns)


WIDE = [f"utf-{bits}{order}" for bits in (16, 32) for order in ("", "-le", "-be")]


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize(
    "text",
    [
        "en\tes\nthe boy\tel niño\n",
        "the cat\tel gato\nthe dog\tel perro\n",
        '"en"\t"es"\n"the cat"\t"el gato"\n',
    ],
    ids=["header", "plain letters alone", "quoted"],
)
def test_utf_16_and_utf_32_are_refused(tmp_path: Path, encoding: str, text: str) -> None:
    """Plain letters of UTF-16 without a mark are UTF-8 too: a zero byte lies beside each."""
    for columns in (DEFAULT, ("1", "2")):
        message = refusal(tsv(tmp_path, text.encode(encoding)), columns)
        assert message == "corpus pairs.tsv: must be UTF-8, got UTF-16 or UTF-32"


def test_a_zero_byte_in_a_text_is_not_utf_16(tmp_path: Path) -> None:
    assert read([tsv(tmp_path, "a\0b\tc\n\0\t\0\n")]) == [("a\0b", "c"), ("\0", "\0")]


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
    assert refusal(path) == "corpus pairs.parquet: column es must contain text, got int64"
    parquet.write_table(pa.table({"en": pa.array([], pa.string()), "es": pa.array([], pa.string())}), path)
    assert refusal(path) == "corpus pairs.parquet: must contain at least one sentence pair, got none"


@pytest.mark.parametrize("kind", ["tsv", "parquet"])
def test_a_column_that_a_file_has_twice_is_refused(tmp_path: Path, kind: str) -> None:
    header = ["en", "other", "en", "es", "other"]
    path = tmp_path / f"pairs.{kind}"
    if kind == "tsv":
        tsv(tmp_path, "\n".join("\t".join(row) for row in (header, "abcde")))
    else:
        parquet.write_table(pa.table([[letter] for letter in "abcde"], names=header), path)
    assert refusal(path) == f"corpus pairs.{kind}: must have one column en, got 2"
    if kind == "parquet":  # only the wanted columns must be distinct
        parquet.write_table(pa.table([[letter] for letter in "bcde"], names=header[1:]), path)
    else:
        tsv(tmp_path, "\n".join("\t".join(row) for row in (header[1:], "bcde")))
    assert read([path]) == [("c", "d")]


def test_a_truncated_parquet(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    parquet.write_table(pa.table({"en": ["a" * 500] * 90, "es": ["b"] * 90}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path) == "corpus pairs.parquet: is not a Parquet file"
    path.write_bytes(whole[:4] + b"\xff" * 60 + whole[64:])  # damaged pages, good footer
    assert refusal(path).startswith("corpus pairs.parquet: ")


any_cells = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\ufeff\r"), max_size=12)
quoted_rows = st.lists(st.tuples(any_cells, any_cells), min_size=1, max_size=20)


def quoted(content: Texts, quoting: int = csv.QUOTE_MINIMAL, newline: str = "\n") -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", quoting=quoting, lineterminator=newline)  # type: ignore[arg-type]
    writer.writerows([("en", "es"), *content])
    return out.getvalue()


@given(quoted_rows, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_quoted_fields_round_trip(content: Texts, newline: str, quoting: int) -> None:
    """Fields as pandas writes them, with tabs and line ends in sentences."""
    content = [*content, ('he said "no"', "dijo «no»")]
    with tempfile.TemporaryDirectory() as folder:
        assert read([tsv(Path(folder), quoted(content, quoting, newline))]) == content


@pytest.mark.parametrize("header", ["", "en\tes\n", '"en\n"\t"es"\n'])
def test_a_first_record_may_contain_line_ends(tmp_path: Path, header: str) -> None:
    path = tsv(tmp_path, header + '"two\nlines"\t"dos ""líneas"""\n"one"\t"una"\n')
    expected = [("two\nlines", 'dos "líneas"'), ("one", "una")]
    assert read([path], ("en\n", "es") if "en\n" in header else DEFAULT) == expected


def test_a_first_field_of_140_000_characters_is_read(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    long = "a" * 140_000
    path = tsv(tmp_path, f'"{long}"\t"b"\n"c"\t"d"\n')
    assert read([path]) == [(long, "b"), ("c", "d")]
    bad = tsv(tmp_path, f'"{long}"\t"b"\n"c"\t"d"\t"e"\n', "bad.tsv")
    assert refusal(bad) == "corpus bad.tsv:2: must have 2 columns, got 3"
    assert csv.field_size_limit() == limit


def test_the_line_of_a_bad_image_id_after_a_long_field(tmp_path: Path) -> None:
    path = tsv(tmp_path, f'"{"a" * 140_000}"\t"b"\t"1"\n"c"\t"d"\t"dog"\n')
    with pytest.raises(InputError, match=r"pairs\.tsv:2: --image-column 3 .*got 'dog'$"):
        list(Corpus("own", (path,), ("1", "2"), image_column="3").batches())


def test_a_first_record_that_python_cannot_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tsv(tmp_path, '"a long field"\t"b"\n')
    monkeypatch.setattr(corpora_tsv, "_LONGEST_QUOTED", 10)
    assert refusal(path) == (
        "corpus pairs.tsv:1: cannot be read as a record of quoted fields: field larger than field limit (10)"
    )


def test_a_carriage_return_in_a_quoted_files_first_line(tmp_path: Path) -> None:
    path = tsv(tmp_path, 'a\rb\tc\n"d ""e"""\tf\n')
    assert "must be tab-separated or Parquet, got a first line without a tab: a" in refusal(path)


def test_quoted_fields_are_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tsv(tmp_path, quoted([('"no"', "no")]))
    assert read([path]) == read([path]) == [('"no"', "no")]
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("fields are quoted; quotation marks are removed") == 1


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize("n_empty", [1, 3])
def test_empty_lines_of_a_quoted_file_are_no_fields(
    tmp_path: Path, newline: str, place: int, n_empty: int
) -> None:
    lines = ['"en"\t"es"', '"a\n\nb"\t"c"', '"d"\t"e"']
    lines[place:place] = [""] * n_empty
    path = tsv(tmp_path, newline.join([*lines, ""]))
    assert corpora_tsv.has_quoted_fields(path)
    if place:  # the first line gives the columns
        assert read([path]) == [("a\n\nb", "c"), ("d", "e")]


@pytest.mark.parametrize("shift", range(-4, 5))
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_empty_line_at_the_end_of_a_block(tmp_path: Path, newline: str, shift: int) -> None:
    long = "a" * (corpora_tsv._BLOCK - 8 + shift)
    path = tsv(tmp_path, f'"{long}"\t"b"{newline}{newline}"c"\t"d"{newline}')
    assert corpora_tsv.has_quoted_fields(path)


@pytest.mark.parametrize("quote_end", [corpora_tsv._BLOCK - 9 + i for i in range(8)])
def test_quotes_at_the_end_of_a_block(tmp_path: Path, quote_end: int) -> None:
    content = [("a" * (quote_end // 2 - 50), "b" * (quote_end - quote_end // 2)), ('say "no"', "x")]
    path = tsv(tmp_path, quoted(content, csv.QUOTE_ALL))
    assert corpora_tsv.has_quoted_fields(path)


@pytest.mark.parametrize("line", ['"Stop\tAlto"', 'x\t"y" z', '"x"" y\tz', 'a"b\tc', '"Stop"\t"Alto"'])
def test_quotation_marks_of_the_text_stay(tmp_path: Path, line: str) -> None:
    text = f'one\tuno\n"He said ""no"""\tx\n{line}\n' if "Stop" not in line else f"one\tuno\n{line}\n"
    assert read([tsv(tmp_path, text)])[-1] == tuple(line.split("\t"))


def test_a_bad_row_of_quoted_fields_is_named(tmp_path: Path) -> None:
    text = quoted([('a "b"\nc', "d")]) + "one column\n"
    assert refusal(tsv(tmp_path, text)) == "corpus pairs.tsv:4: must have 2 columns, got 1"


@given(rows, st.data())
def test_a_carriage_return_in_a_line_is_named(content: Texts, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(content) - 1))
    side = content[number][1]
    place = data.draw(st.integers(0, len(side) - 1))
    content[number] = (content[number][0], f"{side[:place]}\r{side[place:]}")
    lines = ["en\tes", *("\t".join(pair) for pair in content), 'a "b"\tc']
    byte = len(f"{content[number][0]}\t{side[:place]}".encode()) + 1
    with tempfile.TemporaryDirectory() as folder:
        message = refusal(tsv(Path(folder), "\n".join(lines)))
    assert message.startswith(
        f"corpus pairs.tsv:{number + 2}: must have no carriage return inside a line, got one as byte {byte}:"
    )


def test_line_ends_of_old_macs_are_named(tmp_path: Path) -> None:
    assert refusal(tsv(tmp_path, "en\tes\ra\tb\r")).startswith(
        "corpus pairs.tsv:1: must have no carriage return inside a line, got one as byte 6"
    )


@pytest.mark.parametrize("n_long", [1, 3])
@pytest.mark.parametrize("is_quoted", [False, True])
@pytest.mark.parametrize("size", [70_000, (1 << 20) - 1, 3 << 20, 9 << 20])
def test_a_pair_of_megabytes_is_read_as_a_long_one(
    tmp_path: Path, size: int, is_quoted: bool, n_long: int
) -> None:
    short = [(f"a {i}", f"b {i}") for i in range(20)]
    content = [*short, *[("ñ" * (size // 2), "short")] * n_long, ('"x"', "y"), *short]
    plain = "".join(f"{en}\t{es}\n" for en, es in [("en", "es"), *content[:-1], ('z"', "last")])
    path = tsv(tmp_path, quoted(content) if is_quoted else plain)
    given = read([path])
    assert given[:20] == short
    assert [es for _, es in given[20 : 20 + n_long]] == ["short"] * n_long
    assert all(set(en) == {"ñ"} and len(en) > MAX_CHARACTERS for en, _ in given[20 : 20 + n_long])
    assert given[20 + n_long :] == [('"x"', "y"), *short] if is_quoted else given[-1] == ('z"', "last")
    assert len(given) == len(content)


def test_a_cut_inside_a_letter_harms_no_corpus(tmp_path: Path) -> None:
    path = tsv(tmp_path, "en\tes\na" + "ñ" * 600_000 + "\tshort\nb\tc\n")
    (long, short), last = read([path])
    assert set(long[1:]) == {"ñ"}
    assert (short, last) == ("short", ("b", "c"))


def test_a_line_without_end_names_its_columns(tmp_path: Path) -> None:
    path = tsv(tmp_path, b"a\tb\n" * 3 + b"x" * (5 << 20))
    assert refusal(path) == "corpus pairs.tsv:4: must have 2 columns, got 1"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_tsv_is_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    content = [(f"english {i}", f"español {i}") for i in range(999)]
    text = "".join(f"{en}\t{es}\n" for en, es in content).encode()
    assert read([tsv(tmp_path, pack(text), "pairs.tsv.gz")]) == content
    assert read([tsv(tmp_path, pack(text[:5000]) + pack(text[5000:]), "parts.tsv")]) == content
    assert "corpus cut.gz: cannot be read: " in refusal(tsv(tmp_path, pack(text)[:-20], "cut.gz"))
    bad = refusal(tsv(tmp_path, pack(text + b"x\n"), "bad.gz"))
    assert bad == "corpus bad.gz:1000: must have 2 columns, got 1"


def test_archives_are_named(tmp_path: Path) -> None:
    assert refusal(tsv(tmp_path, b"PK\x03\x04" + bytes(40), "pairs.zip")).endswith(
        "must be a TSV, plain or compressed by gzip, bzip2 or xz, got a zip archive: unpack it"
    )
    assert refusal(tsv(tmp_path, gzip.compress(b""), "pairs.parquet.gz")) == (
        "corpus pairs.parquet.gz: must be an uncompressed Parquet file, got .gz: unpack it"
    )
    assert refusal(tsv(tmp_path, gzip.compress(b""), "x.gz")).endswith("but is empty")


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_text_columns_of_every_kind(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "pairs.parquet"
    side = pa.array(["a", None, "a"]).cast(kind)
    struct = pa.StructArray.from_arrays([side], ["en"])
    parquet.write_table(pa.table({"en": side, "es": side, "language": side, "t": struct}), path)
    assert read([path]) == [("a", "a"), (None, None), ("a", "a")]
    assert read([path], ("t.en", "es"))[0] == ("a", "a")
    (batch,) = Corpus("own", (path,), only=("language", "a")).batches()
    assert len(batch) == 2


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


def test_fields_of_a_struct(tmp_path: Path) -> None:
    """The layout of OPUS-100."""
    path = tmp_path / "pairs.parquet"
    parquet.write_table(pa.table({"translation": [{"en": "a", "es": "b"}, {"en": "c", "es": None}]}), path)
    assert read([path], ("translation.en", "translation.es")) == [("a", "b"), ("c", None)]
    assert refusal(path) == (
        "corpus pairs.parquet: --columns names en, es, but the file has translation.en, translation.es"
    )


def test_one_of_several_files_may_lack_a_language(tmp_path: Path) -> None:
    files = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for path, language in zip(files, ("fr", "es"), strict=True):
        parquet.write_table(pa.table({"en": ["a"], "es": [language], "language": [language]}), path)
    read = [batch.to_pydict() for batch in Corpus("own", files, only=("language", "es")).batches()]
    assert [content for content in read if content["en"]] == [{"en": ["a"], "es": ["es"]}]


def test_rows_of_one_language_alone(tmp_path: Path) -> None:
    path = tmp_path / "captions.parquet"
    content = {"en": ["a", "b", "c"], "es": ["x", "y", "z"], "language": ["es", "fr", "es"]}
    parquet.write_table(pa.table(content), path)
    read = [batch.to_pydict() for batch in Corpus("own", (path,), only=("language", "es")).batches()]
    assert read == [{"en": ["a", "c"], "es": ["x", "z"]}]
    with pytest.raises(InputError) as caught:
        list(Corpus("own", (path,), only=("language", "de")).batches())
    assert str(caught.value) == "corpus own: must contain a pair with language de, got none"
    with pytest.raises(InputError, match="names code, but the file has en, es, language"):
        list(Corpus("own", (path,), only=("code", "de")).batches())


def test_an_image_column(tmp_path: Path) -> None:
    path = tsv(tmp_path, b"a\tx\t1.jpg\nb\ty\t\n")
    read = list(Corpus("own", (path,), ("1", "2"), image_column="3").batches())
    assert [batch.to_pydict() for batch in read] == [
        {"en": ["a", "b"], "es": ["x", "y"], "image": ["1", None]}
    ]
    with pytest.raises(InputError, match="--columns and --image-column must name columns of the header"):
        list(Corpus("own", (path,), ("1", "2"), image_column="image").batches())


def test_bad_image_id_in_a_quoted_tsv_is_refused_with_its_line(tmp_path: Path) -> None:
    content = '"en"\t"es"\t"image"\n"a ""b"""\t"x\ny"\t"1"\n\n"c"\t"z"\t"dog"\n'
    path = tmp_path / "pairs.tsv.gz"
    path.write_bytes(gzip.compress(content.encode()))
    with pytest.raises(InputError, match=r"^corpus .*pairs\.tsv\.gz:5: --image-column image .*got 'dog'$"):
        list(Corpus("own", (path,), image_column="image").batches())


@pytest.mark.parametrize("header", ["", "en\tes\timage\n"])
def test_bad_image_id_in_a_tsv_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setattr(corpora, "BYTES_A_BLOCK", 60)
    columns, image = (("en", "es"), "image") if header else (("1", "2"), "3")
    rows = "".join(f"a {i}\tx {i}\t{i}.0\n" for i in range(20))
    path = tsv(tmp_path, f"\ufeff{header}{rows}\n\nb\ty\tdog.jpg\nc\tz\t7\n")
    with pytest.raises(
        InputError,
        match=rf"^corpus .*pairs\.tsv:{23 + bool(header)}: --image-column {image} must contain image ids .*"
        r"got 'dog\.jpg'$",
    ):
        list(Corpus("own", (path,), columns, image_column=image).batches())


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([1.0, None, 2.5], r", row 3: --image-column image must contain image ids .*got '2\.5'$"),
        (["1", "", "x.jpg"], r", row 3: --image-column image must contain image ids .*got 'x\.jpg'$"),
        ([[1], [2], [3]], r": --image-column image must contain image ids .*got list<.*>$"),
    ],
)
def test_a_parquet_file_with_an_image_that_is_no_id_is_refused(
    tmp_path: Path, images: list[object], message: str
) -> None:
    path = tmp_path / "pairs.parquet"
    parquet.write_table(pa.table({"en": ["a", "b", "c"], "es": ["x", "y", "z"], "image": images}), path)
    with pytest.raises(InputError, match=r"^corpus .*pairs\.parquet" + message):
        list(Corpus("own", (path,), image_column="image").batches())


def test_floats_that_pandas_made_of_ids_are_ids(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    images = [436508.0, None, math.nan]
    parquet.write_table(pa.table({"en": ["a", "b", "c"], "es": ["x", "y", "z"], "image": images}), path)
    (batch,) = Corpus("own", (path,), image_column="image").batches()
    assert batch.column("image").to_pylist() == ["436508", None, None]


def test_large_files_come_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "ROWS_A_BATCH", 10)
    monkeypatch.setattr(corpora, "BYTES_A_BLOCK", 100)
    content = [(f"english {i}", f"español {i}") for i in range(95)]
    table = pa.table({"en": [en for en, _ in content], "es": [es for _, es in content]})
    parquet.write_table(table, tmp_path / "pairs.parquet")
    lines = "".join(f"{en}\t{es}\n" for en, es in content)
    for path in (tmp_path / "pairs.parquet", tsv(tmp_path, lines)):
        assert len(list(Corpus("own", (path,)).batches())) > 5
        assert read([path]) == content
    assert refusal(tsv(tmp_path, lines + "one column\n")) == (
        "corpus pairs.tsv:96: must have 2 columns, got 1"
    )


def test_the_digest_is_of_content_and_columns(tmp_path: Path) -> None:
    one, two = tsv(tmp_path, "a\tb\n", "one.tsv"), tsv(tmp_path, "a\tb\n", "two.tsv")
    assert Corpus("x", (one,)).digest() == Corpus("y", (two,)).digest()
    assert Corpus("x", (one,)).digest() != Corpus("x", (one,), ("2", "1")).digest()
    two.unlink()
    with pytest.raises(InputError, match=r"^corpus .*two\.tsv: cannot be read: No such file"):
        Corpus("y", (two,)).digest()
