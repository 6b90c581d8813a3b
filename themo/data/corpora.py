"""Corpora in files: sentence pairs of TSV and Parquet, read in batches, in order.

Texts are held in Arrow arrays of about their UTF-8 size, one batch at a time, never as Python strings.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from themo.data.image_ids import RULE, NoImageIdError, image_ids
from themo.data.tsv import (
    LONGEST_LINE,
    TsvStream,
    bad_line,
    carriage_return,
    first_record,
    has_quoted_fields,
    is_wide,
    line_of,
    open_lines,
)
from themo.errors import InputError
from themo.files.cache import digest_file

ROWS_A_BATCH = 65_536
BYTES_A_BLOCK = 1 << 23
SIDES = ("en", "es")
IMAGE = "image"


@dataclass(frozen=True)
class Corpus:
    """Files of sentence pairs that belong together.

    Attributes:
        name: Name for messages.
        files: TSV (``.tsv``, ``.txt``; plain or compressed by gzip, bzip2 or xz) or Parquet files of UTF-8
            text. A TSV has a header with both column names or none. Without one, `columns` are numbers from
            1, or the default ``en, es`` for a file of two columns. Tabs and line ends cannot be escaped
            unless fields are quoted (`themo.data.tsv.has_quoted_fields`).
        columns: English and Spanish column; ``a.b`` is field b of a Parquet column of structs.
        weight: Repetitions of each pair per epoch.
        image_column: Column with the id or MSCOCO file name of a caption's image, empty for pairs without an
            image; None: no pair has an image.
        only: Column of a Parquet file and its required value; other rows are skipped.
    """

    name: str
    files: tuple[Path, ...]
    columns: tuple[str, str] = ("en", "es")
    weight: float = 1.0
    image_column: str | None = None
    only: tuple[str, str] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the pairs in the files' order: columns ``en``, ``es`` and, with `image_column`, ``image``.

        All columns are large strings; null stays null. Images are ids as in `themo.data.image_ids.image_ids`.

        Raises:
            InputError: A file cannot be read or has no pair, lacks a column, has a row with more or fewer
                tabs, bytes that are not UTF-8, or an image that is no id; the message gives file and line.
                Or no file has a row of `only`.
        """
        columns = self.columns if self.image_column is None else (*self.columns, self.image_column)
        schema = pa.schema([(name, pa.large_string()) for name in (*SIDES, IMAGE)[: len(columns)]])
        n_rows = 0
        for path in self.files:
            for batch in _read_file(path, columns, self.only, schema):
                n_rows += len(batch)
                yield batch
        if self.only is not None and n_rows == 0:
            column, value = self.only
            raise InputError(f"corpus {self.name}: must contain a pair with {column} {value}, got none")

    def digest(self) -> list[object]:
        """Return all that determines the pairs, as a JSON value."""
        try:
            how = [*self.columns, self.image_column, self.only]
            return [how, *(digest_file(path) for path in self.files)]
        except OSError as error:
            raise InputError(f"corpus {error.filename}: cannot be read: {error.strerror}") from None


def _read_file(
    path: Path, columns: tuple[str, ...], only: tuple[str, str] | None, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    n_rows = 0
    try:
        if not path.is_file():
            raise InputError(f"corpus {path}: no such file")
        is_parquet = path.suffix == ".parquet"
        if not is_parquet and ".parquet" in path.suffixes:
            raise InputError(
                f"corpus {path}: must be an uncompressed Parquet file, got {path.suffix}: unpack it"
            )
        for cells in _read_parquet(path, columns, only) if is_parquet else _read_tsv(path, columns):
            yield pa.record_batch([*cells[: len(SIDES)], *map(image_ids, cells[len(SIDES) :])], schema=schema)
            n_rows += len(cells[0])
    except NoImageIdError as error:
        row = n_rows + error.row
        place = f", row {row + 1}" if is_parquet else f":{_line_of(path, columns, row)}"
        raise InputError(f"corpus {path}{place}: --image-column {columns[-1]} {error}") from None
    except (OSError, EOFError, LZMAError, zlib.error, pa.ArrowException) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise InputError(f"corpus {path}: cannot be read: {reason}") from None
    if n_rows == 0 and only is None:  # with `only`, another file may have the wanted rows
        raise InputError(f"corpus {path}: must contain at least one sentence pair, got none")


def _read_parquet(
    path: Path, columns: tuple[str, ...], only: tuple[str, str] | None
) -> Iterator[Sequence[pa.Array]]:
    try:
        file = parquet.ParquetFile(path)
    except pa.ArrowInvalid:
        raise InputError(f"corpus {path}: is not a Parquet file") from None
    names, kinds = _kinds(file.schema_arrow)
    wanted = columns if only is None else (*columns, only[0])
    missing = [column for column in wanted if column not in kinds]
    if missing:
        raise InputError(
            f"corpus {path}: --columns names {', '.join(missing)}, but the file has {', '.join(kinds)}"
        )
    _refuse_repeated(path, names, wanted)
    for name in columns[: len(SIDES)]:
        if not _is_text(kinds[name]):
            raise InputError(f"corpus {path}: column {name} must contain text, got {kinds[name]}")
    for name in columns[len(SIDES) :]:
        if pa.types.is_nested(kinds[name]):
            raise InputError(f"corpus {path}: --image-column {name} {RULE}, got {kinds[name]}")
    for batch in file.iter_batches(ROWS_A_BATCH, columns=list(wanted)):
        cells = [_text(batch, name) for name in columns[: len(SIDES)]]
        cells += [_column(batch, name) for name in columns[len(SIDES) :]]
        if only is not None:
            wanted_rows = pc.equal(_text(batch, only[0]), only[1])
            cells = [column.filter(wanted_rows) for column in cells]
        yield cells


_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):  # as pandas stores categories this way
        return _is_text(kind.value_type)
    return any(is_one(kind) for is_one in _TEXTS)


def _kinds(schema: pa.Schema) -> tuple[list[str], dict[str, pa.DataType]]:
    """Return all names, with ``column.field`` for the fields of structs, and types by name."""
    kinds: list[tuple[str, pa.DataType]] = []
    for field in schema:
        if pa.types.is_struct(field.type):
            kinds += [(f"{field.name}.{inner.name}", inner.type) for inner in field.type]
        else:
            kinds.append((field.name, field.type))
    return [name for name, _ in kinds], dict(kinds)


def _refuse_repeated(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse wanted names that several columns of a file have.

    Raises:
        InputError: Several columns have a wanted name.
    """
    for name in wanted:
        if names.count(name) > 1:
            raise InputError(f"corpus {path}: must have one column {name}, got {names.count(name)}")


def _text(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Return a column, or a field of a struct, as large strings."""
    return _column(batch, name).cast(pa.large_string())


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Return a column, or a field of a struct, with dictionaries decoded."""
    if name in batch.schema.names:
        column = batch.column(name)
    else:
        outer, _, inner = name.rpartition(".")
        column = batch.column(outer).field(inner)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _read_tsv(path: Path, columns: tuple[str, ...]) -> Iterator[Sequence[pa.Array]]:
    fields, is_quoted = _first_fields(path)
    has_header = set(columns) <= set(fields)
    chosen = list(columns) if has_header else _positions(path, columns, fields)
    if has_header:
        _refuse_repeated(path, fields, columns)
    names = fields if has_header else [str(i + 1) for i in range(len(fields))]
    kept = tuple(names.index(name) for name in chosen)
    try:
        reader = csv.open_csv(
            pa.PythonFile(TsvStream(path, kept, is_quoted=is_quoted), mode="r"),
            read_options=csv.ReadOptions(
                # not `skip_rows`, which takes a line end in quotation marks for the header's end
                column_names=names,
                skip_rows_after_names=int(has_header),
                block_size=BYTES_A_BLOCK,
            ),
            parse_options=csv.ParseOptions(
                delimiter="\t", quote_char='"' if is_quoted else False, newlines_in_values=is_quoted
            ),
            convert_options=csv.ConvertOptions(
                include_columns=chosen,
                column_types=dict.fromkeys(chosen, pa.large_string()),
                strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield [batch.column(name) for name in chosen]
    except pa.ArrowInvalid as error:
        raise InputError(bad_line(path, len(names), str(error), is_quoted=is_quoted)) from None


def _first_fields(path: Path) -> tuple[list[str], bool]:
    """Return the fields of a TSV's first line, or first record, and whether fields are quoted."""
    with open_lines(path) as file:
        line = file.readline(LONGEST_LINE)
    if not line:
        raise InputError(f"corpus {path}: must contain at least one sentence pair, but is empty")
    if is_wide(line.rstrip(b"\r\n")):
        raise InputError(f"corpus {path}: must be UTF-8, got UTF-16 or UTF-32")
    if has_quoted_fields(path):
        return first_record(path), True
    first = line.rstrip(b"\r\n").decode("utf-8", errors="replace").removeprefix("\ufeff")
    if "\r" in first:
        raise carriage_return(path, 1, line.index(b"\r") + 1)
    return first.split("\t"), False


def _line_of(path: Path, columns: tuple[str, ...], pair: int) -> int:
    """Return the line of a TSV's pair; pairs count from 0, lines from 1."""
    fields, is_quoted = _first_fields(path)
    return line_of(path, pair + (set(columns) <= set(fields)), is_quoted=is_quoted)


_SHOWN = 80
"""Greatest number of characters of a first line in a message."""

_LANGUAGES = ("en", "es", "eng", "spa", "english", "spanish", "inglés", "ingles", "español", "espanol")
_ROLES = ("source", "target", "src", "tgt", "trg", "text", "sentence", "caption", "translation", "original")
_HEADER_WORDS = frozenset(_LANGUAGES + _ROLES)
"""Pattern of column names: a first line of such names is a header, not a pair of sentences."""


def _positions(path: Path, columns: tuple[str, ...], fields: list[str]) -> list[str]:
    if columns == SIDES and len(fields) == 2:
        if all(field.strip().lower() in _HEADER_WORDS for field in fields):
            raise InputError(
                f"corpus {path}: --columns names {','.join(columns)}, but its header has {','.join(fields)}: "
                f"--columns {','.join(fields)} reads these as English and Spanish, --columns 1,2 takes the "
                f"header for a pair"
            )
        return ["1", "2"]
    if set(columns) <= {str(i + 1) for i in range(len(fields))}:
        return list(columns)
    if len(fields) == 1:
        rule = "must be tab-separated or Parquet, got a first line without a tab"
        raise InputError(f"corpus {path}: {rule}: {fields[0][:_SHOWN]}")
    options = "--columns must name two" if columns[2:] == () else "--columns and --image-column must name"
    raise InputError(
        f"corpus {path}: {options} columns of the header or count them from 1, "
        f"got {','.join(columns)} for a first line of {len(fields)} columns: {' | '.join(fields)[:_SHOWN]}"
    )
