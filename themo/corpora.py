"""Sentence pairs: reading, cleaning, splitting.

Texts live in Arrow arrays, a few bytes above their UTF-8 size, never as a list of Python strings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from themo.errors import InputError

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Aligned sentences.

    Attributes:
        en, es: Arrow string arrays of equal length.
        rows: (N,) int64, where each pair stood in the corpus as read, for targets that are aligned with it.
    """

    en: pa.Array
    es: pa.Array
    rows: Rows

    def __len__(self) -> int:
        return len(self.en)

    def take(self, chosen: npt.NDArray[np.bool_] | Rows) -> Pairs:
        """The pairs of a boolean mask or of indices."""
        index = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return Pairs(self.en.take(pa.array(index)), self.es.take(pa.array(index)), self.rows[index])

    def english_ids(self) -> Rows:
        """(N,) int64: equal English sentences, and only they, share a number."""
        encoded = self.en.dictionary_encode()
        return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


@dataclass(frozen=True)
class Drops:
    """How many rows the cleaning took out, by reason."""

    read: int
    empty: int
    duplicate: int

    def __str__(self) -> str:
        kept = self.read - self.empty - self.duplicate
        return f"{kept:,} of {self.read:,} pairs kept: {self.empty:,} empty, {self.duplicate:,} duplicate"


def read_pairs(paths: Sequence[Path], columns: tuple[str, str]) -> Pairs:
    """The pairs of some TSV (``.tsv``, ``.txt``) or Parquet files, in order, as they stand there.

    Args:
        paths: Files of UTF-8 text. A TSV has a header with both column names, or none: then `columns` are
            numbers from 1, or the default ``en, es`` for the first and second of two columns. Tabs and line
            ends have no escape in it.
        columns: English and Spanish column.

    Raises:
        InputError: A file cannot be read or has no pair, not these columns, a row with more or fewer tabs, or
            bytes that are not UTF-8; the message gives file and line.
    """
    tables = [_read_file(path, columns) for path in paths]
    en = pa.concat_arrays([chunk for table in tables for chunk in table.column(0).chunks])
    es = pa.concat_arrays([chunk for table in tables for chunk in table.column(1).chunks])
    return Pairs(en, es, np.arange(len(en), dtype=np.int64))


def clean(pairs: Pairs) -> tuple[Pairs, Drops]:
    """Strip spaces; drop pairs with an empty side and repeated pairs, keeping the first."""
    en = pc.fill_null(pc.utf8_trim_whitespace(pairs.en), "")
    es = pc.fill_null(pc.utf8_trim_whitespace(pairs.es), "")
    stripped = Pairs(en, es, pairs.rows)
    filled = np.asarray(pc.and_(pc.greater(pc.utf8_length(en), 0), pc.greater(pc.utf8_length(es), 0)))
    full = stripped.take(filled)
    es_ids = np.asarray(full.es.dictionary_encode().indices, dtype=np.int64)
    pair_ids = full.english_ids() * (int(es_ids.max(initial=0)) + 1) + es_ids
    first = np.sort(np.unique(pair_ids, return_index=True)[1])
    cleaned = full.take(first)
    drops = Drops(len(pairs), empty=len(pairs) - len(full), duplicate=len(full) - len(cleaned))
    return cleaned, drops


def split(pairs: Pairs, validation_pairs: int) -> tuple[Pairs, Pairs]:
    """Training and validation pairs; a choice by content, so that it does not depend on the order of rows.

    All pairs of an English sentence fall on one side. Sentences go to validation in the order of a hash until
    at least `validation_pairs` pairs are there.

    Raises:
        InputError: Fewer than twice `validation_pairs` pairs, or too few different English sentences.
    """
    if len(pairs) < 2 * validation_pairs:
        raise InputError(
            f"data.validation_pairs must be at most half of the {len(pairs)} pairs, got {validation_pairs}"
        )
    encoded = pairs.en.dictionary_encode()
    ids = np.asarray(encoded.indices, dtype=np.int64)
    order = np.argsort(_hashes(encoded.dictionary, b"validation"), kind="stable")
    counts = np.bincount(ids, minlength=len(order))[order]
    n_held = int(np.searchsorted(np.cumsum(counts), validation_pairs)) + 1
    if n_held >= len(order):
        raise InputError(
            f"data.validation_pairs must leave pairs to train on, got {validation_pairs} "
            f"for {len(pairs)} pairs of only {len(order)} different English sentences"
        )
    held = np.zeros(len(order), dtype=np.bool_)
    held[order[:n_held]] = True
    return pairs.take(~held[ids]), pairs.take(held[ids])


def sample(pairs: Pairs, n: int) -> Pairs:
    """At most `n` pairs, chosen at random and always alike, in their order."""
    if len(pairs) <= n:
        return pairs
    return pairs.take(np.sort(np.random.default_rng(0).permutation(len(pairs))[:n]).astype(np.int64))


def digest_texts(texts: pa.Array) -> str:
    """SHA-256 of an Arrow string array's content, in hexadecimal."""
    state = hashlib.sha256()
    # a slice carries the buffers of its whole: casting lays the texts out alone and from 0
    compact = pa.concat_arrays([texts.cast(pa.large_string())])
    compact = compact.take(pa.array(np.arange(len(compact)))) if compact.offset else compact
    for buffer in compact.buffers()[1:]:
        state.update(buffer)
    return state.hexdigest()


def _hashes(texts: pa.Array, salt: bytes) -> npt.NDArray[np.uint64]:
    return np.fromiter(
        (
            int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=salt).digest(), "little")
            for text in texts.to_pylist()
        ),
        dtype=np.uint64,
        count=len(texts),
    )


def _read_file(path: Path, columns: tuple[str, str]) -> pa.Table:
    try:
        if not path.is_file():
            raise InputError(f"corpus {path}: no such file")
        is_parquet = path.suffix == ".parquet"
        table = _read_parquet(path, columns) if is_parquet else _read_tsv(path, columns)
    except (OSError, pa.ArrowInvalid) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise InputError(f"corpus {path}: cannot be read: {reason}") from None
    if table.num_rows == 0:
        raise InputError(f"corpus {path}: must hold at least one sentence pair, got none")
    return table


def _read_parquet(path: Path, columns: tuple[str, str]) -> pa.Table:
    try:
        file = parquet.ParquetFile(path)
    except pa.ArrowInvalid:
        raise InputError(f"corpus {path}: is not a Parquet file") from None
    names = file.schema_arrow.names
    missing = [column for column in columns if column not in names]
    if missing:
        raise InputError(
            f"corpus {path}: --columns names {', '.join(missing)}, but the file has {', '.join(names)}"
        )
    table = file.read(columns=list(columns)).select(list(columns))
    for name in columns:
        kind = table.schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise InputError(f"corpus {path}: column {name} must hold text, got {kind}")
    return table.cast(pa.schema([(name, pa.large_string()) for name in columns]))


def _read_tsv(path: Path, columns: tuple[str, str]) -> pa.Table:
    if path.stat().st_size == 0:
        raise InputError(f"corpus {path}: must hold at least one sentence pair, the file is empty")
    with path.open("rb") as file:
        first = file.readline().rstrip(b"\r\n").decode("utf-8", errors="replace").removeprefix("\ufeff")
    fields = first.split("\t")
    has_header = set(columns) <= set(fields)
    chosen = list(columns) if has_header else _positions(path, columns, fields)
    names = fields if has_header else [str(i + 1) for i in range(len(fields))]
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=names, skip_rows=int(has_header), block_size=1 << 24),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(
                include_columns=chosen,
                column_types=dict.fromkeys(chosen, pa.large_string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(_bad_line(path, len(names), str(error))) from None
    return table


def _positions(path: Path, columns: tuple[str, str], fields: list[str]) -> list[str]:
    if columns == ("en", "es") and len(fields) == 2:
        return ["1", "2"]
    if set(columns) <= {str(i + 1) for i in range(len(fields))}:
        return list(columns)
    raise InputError(
        f"corpus {path}: --columns must name two columns of the header or count them from 1, "
        f"got {','.join(columns)} for a first line of {len(fields)} columns"
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
