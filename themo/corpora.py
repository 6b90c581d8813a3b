"""Sentence pairs as files hold them: TSV and Parquet, read in batches, in order.

Texts live in Arrow arrays, a few bytes above their UTF-8 size, never as a list of Python strings, and never
more of them at once than a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from themo.cache import digest_file
from themo.errors import InputError
from themo.image_ids import RULE, NoImageIdError, image_ids

ROWS_A_BATCH = 65_536
BYTES_A_BLOCK = 1 << 23
SIDES = ("en", "es")
IMAGE = "image"


@dataclass(frozen=True)
class Corpus:
    """Files of sentence pairs that belong together.

    Attributes:
        name: For people.
        files: TSV (``.tsv``, ``.txt``) or Parquet files of UTF-8 text. A TSV has a header with both column
            names, or none: then `columns` are numbers from 1, or the default ``en, es`` for the first and
            second of two columns. Tabs and line ends have no escape in it.
        columns: English and Spanish column; ``a.b`` is field b of a Parquet column of structs.
        weight: How often each pair is seen in an epoch.
        image_column: Column with the id or MSCOCO's file name of a caption's image, empty where a pair has
            none; None: no pair has one.
        only: Column of a Parquet file and the value that it must have: other rows are passed over.
    """

    name: str
    files: tuple[Path, ...]
    columns: tuple[str, str] = ("en", "es")
    weight: float = 1.0
    image_column: str | None = None
    only: tuple[str, str] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The pairs as they stand there: columns ``en``, ``es`` and, if asked for, ``image``.

        All are large strings; null stays null. Images are ids as of `themo.image_ids.image_ids`.

        Raises:
            InputError: A file cannot be read or has no pair, not these columns, a row with more or fewer
                tabs, bytes that are not UTF-8, or an image that is no id; the message gives file and line.
        """
        columns = self.columns if self.image_column is None else (*self.columns, self.image_column)
        schema = pa.schema([(name, pa.large_string()) for name in (*SIDES, IMAGE)[: len(columns)]])
        for path in self.files:
            yield from _read_file(path, columns, self.only, schema)

    def digest(self) -> list[object]:
        """What the pairs depend on, as a JSON value."""
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
        for cells in _read_parquet(path, columns, only) if is_parquet else _read_tsv(path, columns):
            yield pa.record_batch([*cells[: len(SIDES)], *map(image_ids, cells[len(SIDES) :])], schema=schema)
            n_rows += len(cells[0])
    except NoImageIdError as error:
        row = n_rows + error.row
        place = f", row {row + 1}" if is_parquet else f":{_line_of(path, columns, row)}"
        raise InputError(f"corpus {path}{place}: --image-column {columns[-1]} {error}") from None
    except (OSError, pa.ArrowInvalid) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise InputError(f"corpus {path}: cannot be read: {reason}") from None
    if n_rows == 0:
        raise InputError(f"corpus {path}: must hold at least one sentence pair, got none")


def _read_parquet(
    path: Path, columns: tuple[str, ...], only: tuple[str, str] | None
) -> Iterator[Sequence[pa.Array]]:
    try:
        file = parquet.ParquetFile(path)
    except pa.ArrowInvalid:
        raise InputError(f"corpus {path}: is not a Parquet file") from None
    kinds = _kinds(file.schema_arrow)
    wanted = columns if only is None else (*columns, only[0])
    missing = [column for column in wanted if column not in kinds]
    if missing:
        raise InputError(
            f"corpus {path}: --columns names {', '.join(missing)}, but the file has {', '.join(kinds)}"
        )
    for name in columns[: len(SIDES)]:
        if not (pa.types.is_string(kinds[name]) or pa.types.is_large_string(kinds[name])):
            raise InputError(f"corpus {path}: column {name} must hold text, got {kinds[name]}")
    for name in columns[len(SIDES) :]:
        if pa.types.is_nested(kinds[name]):
            raise InputError(f"corpus {path}: --image-column {name} {RULE}, got {kinds[name]}")
    for batch in file.iter_batches(ROWS_A_BATCH, columns=list(wanted)):
        rows = batch if only is None else batch.filter(pc.equal(_column(batch, only[0]), only[1]))
        texts = [_column(rows, name).cast(pa.large_string()) for name in columns[: len(SIDES)]]
        yield [*texts, *(_column(rows, name) for name in columns[len(SIDES) :])]


def _kinds(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Types by name, the fields of structs as ``column.field``."""
    kinds: dict[str, pa.DataType] = {}
    for field in schema:
        if pa.types.is_struct(field.type):
            kinds |= {f"{field.name}.{inner.name}": inner.type for inner in field.type}
        else:
            kinds[field.name] = field.type
    return kinds


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name in batch.schema.names:
        return batch.column(name)
    outer, _, inner = name.rpartition(".")
    return batch.column(outer).field(inner)


def _read_tsv(path: Path, columns: tuple[str, ...]) -> Iterator[Sequence[pa.Array]]:
    if path.stat().st_size == 0:
        raise InputError(f"corpus {path}: must hold at least one sentence pair, the file is empty")
    with path.open("rb") as file:
        fields = _fields(file.readline())
    has_header = set(columns) <= set(fields)
    chosen = list(columns) if has_header else _positions(path, columns, fields)
    names = fields if has_header else [str(i + 1) for i in range(len(fields))]
    try:
        reader = csv.open_csv(
            path,
            read_options=csv.ReadOptions(
                column_names=names, skip_rows=int(has_header), block_size=BYTES_A_BLOCK
            ),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(
                include_columns=chosen,
                column_types=dict.fromkeys(chosen, pa.large_string()),
                strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield [batch.column(name) for name in chosen]
    except pa.ArrowInvalid as error:
        raise InputError(_bad_line(path, len(names), str(error))) from None


def _fields(line: bytes) -> list[str]:
    return line.rstrip(b"\r\n").decode("utf-8", errors="replace").removeprefix("\ufeff").split("\t")


def _line_of(path: Path, columns: tuple[str, ...], row: int) -> int:
    """Number of the line that holds a row of a TSV, its header and empty lines counted."""
    with path.open("rb") as file:
        lines = [number for number, line in enumerate(file, start=1) if line.strip(b"\r\n")]
        file.seek(0)
        n_headers = int(set(columns) <= set(_fields(file.readline())))
    return lines[row + n_headers]


_SHOWN = 80
"""Characters of a first line that a message shows."""

_LANGUAGES = ("en", "es", "eng", "spa", "english", "spanish", "inglés", "ingles", "español", "espanol")
_ROLES = ("source", "target", "src", "tgt", "trg", "text", "sentence", "caption", "translation", "original")
_HEADER_WORDS = frozenset(_LANGUAGES + _ROLES)
"""What the names of two columns are made of, where a first line of nothing else is no pair of sentences."""


def _positions(path: Path, columns: tuple[str, ...], fields: list[str]) -> list[str]:
    if columns == SIDES and len(fields) == 2:
        if all(field.strip().lower() in _HEADER_WORDS for field in fields):
            raise InputError(
                f"corpus {path}: --columns names {','.join(columns)}, but its header has {','.join(fields)}: "
                f"--columns {','.join(fields)} reads them as English and Spanish, --columns 1,2 takes the "
                f"header for a pair"
            )
        return ["1", "2"]
    if set(columns) <= {str(i + 1) for i in range(len(fields))}:
        return list(columns)
    options = "--columns must name two" if columns[2:] == () else "--columns and --image-column must name"
    raise InputError(
        f"corpus {path}: {options} columns of the header or count them from 1, "
        f"got {','.join(columns)} for a first line of {len(fields)} columns: {' | '.join(fields)[:_SHOWN]}"
    )


def _bad_line(path: Path, n_columns: int, otherwise: str) -> str:
    """Which line the reader stumbled over: read again, slowly, only when it did."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip(b"\r\n"):
                continue  # the reader passes over empty lines
            columns = line.count(b"\t") + 1
            if columns != n_columns:
                return f"corpus {path}:{number}: must have {n_columns} columns, got {columns}"
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"corpus {path}:{number}: must be UTF-8, got byte 0x{line[error.start]:02x}"
    return f"corpus {path}: is not a TSV: {otherwise}"
