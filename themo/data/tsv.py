"""The byte stream of a TSV for Arrow's reader: unpacked, with Unix line ends and without lines of megabytes.

Arrow's reader takes a carriage return for a line end, refuses a line that is longer than its block, and gives
no line number for either.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

from themo.data.cleaning import MAX_CHARACTERS
from themo.errors import InputError
from themo.process.progress import console

LONGEST_LINE = 1 << 20
"""Longest line, in bytes; fields of longer lines are cut, so that a line fits into the reader's block."""

LONGEST_FIELD = 4 * (MAX_CHARACTERS + 1)
"""Bytes of a cut field; still longer than a side may be, so that the cleaning drops the pair."""

_BLOCK = 1 << 20
_N_NAMED = 5
"""Greatest number of lines with a wrong number of columns that a message names."""
_LONGEST_QUOTED = 2**31 - 1
"""Longest quoted field for Python's csv module, in characters: the greatest limit on every platform."""
_UNPACK: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_ARCHIVES = {b"PK\x03\x04": "zip archive", b"\x28\xb5\x2f\xfd": "zstd file", b"7z\xbc\xaf": "7z archive"}


def open_lines(path: Path) -> IO[bytes]:
    """Open a TSV, decompressed according to its first bytes.

    Raises:
        InputError: The file is an archive of an unsupported kind.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(6)
    for magic, name in _ARCHIVES.items():
        if head.startswith(magic):
            rule = "must be a TSV, plain or compressed by gzip, bzip2 or xz"
            raise InputError(f"corpus {path}: {rule}, got a {name}: unpack it")
    unpack = next((opener for magic, opener in _UNPACK.items() if head.startswith(magic)), None)
    opened: IO[bytes] = path.open("rb") if unpack is None else unpack(path, "rb")
    return opened


class TsvStream(io.RawIOBase):
    """Stream of a TSV for Arrow's reader, which calls `read`.

    Windows line ends become Unix line ends. In lines longer than `LONGEST_LINE` the wanted fields are cut to
    `LONGEST_FIELD` and the others are emptied.

    Args:
        path: The TSV file.
        wanted: Positions of the columns to read.
        is_quoted: Fields may be quoted, and may then contain carriage returns.
    """

    def __init__(self, path: Path, wanted: tuple[int, ...], *, is_quoted: bool) -> None:
        self._path, self._wanted, self._is_quoted = path, wanted, is_quoted
        self._file = open_lines(path)
        self._lines = self._whole_lines()
        self._left = b""
        self._number = 1  # of the next line

    def readable(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes; none at the end.

        Raises:
            InputError: A carriage return ends no line; the message gives the line.
        """
        while not self._left:
            block = next(self._lines, None)
            if block is None:
                return b""
            self._left = self._checked(block)
        size = len(self._left) if size < 0 else size
        given, self._left = self._left[:size], self._left[size:]
        return given

    def _checked(self, block: bytes) -> bytes:
        if not self._is_quoted and b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
            place = block.find(b"\r")
            if place >= 0:
                line = self._number + block.count(b"\n", 0, place)
                raise carriage_return(self._path, line, place - block.rfind(b"\n", 0, place))
        self._number += block.count(b"\n")
        return block

    def _whole_lines(self) -> Iterator[bytes]:
        r"""Yield the file in blocks of whole lines; the last line may lack its end.

        With blocks of 6 bytes, ``b"a\tb\nc\t"`` and ``b"d\ne\tf"``, it yields ``b"a\tb\n"``, ``b"c\td\n"``
        and ``b"e\tf"``.
        """
        pending = b""
        while block := self._file.read(_BLOCK):
            end = block.rfind(b"\n") + 1
            if end:
                yield from self._without_long_lines(pending + block[:end])
                pending = block[end:]
            else:
                pending += block
            while len(pending) > LONGEST_LINE:
                cut, rest = self._cut(pending)
                yield cut
                end = rest.rfind(b"\n") + 1
                yield from self._without_long_lines(rest[:end])
                pending = rest[end:]
        if pending:
            yield pending

    def _without_long_lines(self, lines: bytes) -> Iterator[bytes]:
        r"""Yield whole lines in which the long ones are cut.

        With a `LONGEST_LINE` of 10 and a `LONGEST_FIELD` of 3, ``b"a\tb\nabcdef\tuvwxyz\nc\td\n"`` gives
        ``b"a\tb\n"``, ``b"abc\tuvw\n"`` and ``b"c\td\n"``.
        """
        start, begin = 0, 0
        while len(lines) - start > LONGEST_LINE:
            end = lines.rfind(b"\n", start, start + LONGEST_LINE) + 1
            if not end:  # the line continues after the block
                end = lines.index(b"\n", start) + 1
                yield lines[begin:start]
                yield self._cut(lines[start:end])[0]
                begin = end
            start = end
        yield lines[begin:]

    def _cut(self, line: bytes) -> tuple[bytes, bytes]:
        r"""Return a long line with its fields cut, and the bytes read after it.

        The rest of the line is read from the file, block by block. With a `LONGEST_FIELD` of 3 and the first
        two columns wanted, ``b"abcdef\tuvw"``, followed by ``b"xyz\tq\nc\t"`` in the file, gives
        ``b"abc\tuvw\t\n"`` and ``b"c\t"``.
        """
        fields: list[bytes] = [b""]
        rest = b""
        while line:
            end = line.find(b"\n")
            part, rest = (line, b"") if end < 0 else (line[:end], line[end + 1 :])
            first, *others = part.rstrip(b"\r").split(b"\t")
            fields[-1] = (fields[-1] + first)[:LONGEST_FIELD]
            fields += [field[:LONGEST_FIELD] for field in others]
            if end >= 0:
                break
            line = self._file.read(_BLOCK)
        kept = [field if i in self._wanted else b"" for i, field in enumerate(fields)]
        if self._is_quoted:
            kept = [field.replace(b'"', b"") for field in kept]
        whole = [field.decode("utf-8", errors="ignore").encode() for field in kept]
        return b"\t".join(whole) + b"\n", rest


def carriage_return(path: Path, line: int, byte: int) -> InputError:
    """Return the error of a carriage return that ends no line; `line` and `byte` count from 1."""
    return InputError(
        f"corpus {path}:{line}: must have no carriage return inside a line, got one as byte {byte}: replace "
        "it with a space, or with a line end where it ends a line"
    )


_QUOTED = re.compile(rb'"([^"]*+(?:""[^"]*+)*+)"(?=\t|\r?\n|\Z)')
_EMPTY_LINES = re.compile(rb"\n(?:\r?\n)+")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def has_quoted_fields(path: Path) -> bool:
    """Whether the fields of a TSV are quoted as by pandas and Python's csv module.

    They are if every field with a quotation mark begins and ends with one and holds further ones only in
    pairs, and if some field holds such a pair or all fields are quoted. Otherwise quotation marks belong to
    the text. Empty lines have no field. A file with quoted fields is reported once.

    A file of the line ``"a" TAB "b"`` is quoted, since all fields are, and so is ``a TAB "b ""c"" d"``, since
    it has a pair. ``a TAB "b c"`` and ``a "b" TAB c`` are not.
    """
    facts = path.stat()
    return _has_quoted_fields(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=64)
def _has_quoted_fields(path: Path, _changed: int, _size: int) -> bool:
    """Find the quoted fields block by block, and count them and all fields.

    Bytes stay in `data` until their field is whole: of ``"a" TAB "b`` at a block's end, the first field is
    counted, and ``TAB "b`` waits for the next block.
    """
    has_pair, n_quoted, n_delimiters = False, 0, 0
    with open_lines(path) as file:
        data, is_last = b"\n", False  # start with a delimiter; data holds unchecked bytes
        while not is_last:
            block = file.read(_BLOCK)
            is_last = not block
            new = block if n_delimiters else block.removeprefix(_BYTE_ORDER_MARK)
            before, data = data, _EMPTY_LINES.sub(b"\n", data + new)
            n_delimiters += _count_delimiters(data) - _count_delimiters(before)
            place = 0
            while (mark := data.find(b'"', place)) >= 0:
                if data[mark - 1 : mark] not in (b"\t", b"\n"):
                    return False
                match = _QUOTED.match(data, mark)
                if match is None and is_last:
                    return False
                if match is None or (match.end() >= len(data) - 1 and not is_last):
                    break  # its end is in the next block
                has_pair = has_pair or b'""' in match[1]
                n_delimiters -= _count_delimiters(match[1])
                n_quoted += 1
                place = match.end()
            # two bytes: an empty line may begin with them
            data = data[mark - 1 if mark >= 0 else max(place, len(data) - 2) :]
            if len(data) > LONGEST_LINE + _BLOCK:
                return False
    n_fields = n_delimiters + (data[-1:] != b"\n")
    if not (has_pair or n_quoted == n_fields):
        return False
    console.print(f"Corpus {path}: fields are quoted; quotation marks are removed")
    return True


def _count_delimiters(data: bytes) -> int:
    return data.count(b"\t") + data.count(b"\n")


def first_record(path: Path) -> list[str]:
    """Return the fields of the first record of a TSV of quoted fields, which may contain line ends.

    Raises:
        InputError: The file's first record cannot be read.
    """
    with _quoted_records(path) as records:
        try:
            return next(records, None) or [""]
        except csv.Error as error:
            raise InputError(
                f"corpus {path}:1: cannot be read as a record of quoted fields: {error}"
            ) from None


class _Records(Protocol):
    """Python's reader of records, with the number of lines read."""

    line_num: int

    def __next__(self) -> list[str]: ...
    def __iter__(self) -> Iterator[list[str]]: ...


@contextmanager
def _quoted_records(path: Path, errors: str = "replace") -> Iterator[_Records]:
    """Open a TSV of quoted fields and yield its records; fields may have any length."""
    limit = csv.field_size_limit(_LONGEST_QUOTED)  # of the whole process
    try:
        with open_lines(path) as file:
            text = io.TextIOWrapper(file, "utf-8-sig", errors, newline="")
            yield csv.reader(text, delimiter="\t")
    finally:
        csv.field_size_limit(limit)


_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")


def is_wide(line: bytes) -> bool:
    """Whether a first line is UTF-16 or UTF-32: by its byte order mark, or since every second byte is zero.

    Latin text of UTF-16 without a mark is valid UTF-8, with a zero beside each letter.
    """
    halves = (line[::2], line[1::2])
    return line.startswith(_WIDE_MARKS) or any(
        not any(zeros) and b"\t" in text and all(cell.strip(b"\0") for cell in text.split(b"\t"))
        for zeros, text in (halves, halves[::-1])
    )


def line_of(path: Path, row: int, *, is_quoted: bool) -> int:
    """Return the line where a row begins; rows count from 0, with the header, without empty lines."""
    if not is_quoted:
        with open_lines(path) as file:
            numbers = (number for number, line in enumerate(file, start=1) if line.strip(b"\r\n"))
            return next(islice(numbers, row, None))
    number = 1
    with _quoted_records(path) as records, suppress(csv.Error):  # the record after the last readable one
        for cells in records:
            if cells:
                row -= 1
            if row < 0:
                break
            number = records.line_num + 1
    return number


def bad_line(path: Path, n_columns: int, otherwise: str, *, is_quoted: bool) -> str:
    """Return the message for the line that the reader refused; reads the file again, line by line.

    For a plain TSV the message also gives the first lines with a wrong number of columns, and their count.
    """
    rule = f"must have {n_columns} columns, got"
    if is_quoted:
        with _quoted_records(path, "strict") as records:
            try:
                for row in records:
                    if row and len(row) != n_columns:
                        return f"corpus {path}:{records.line_num}: {rule} {len(row)}"
            except (csv.Error, UnicodeDecodeError) as error:
                return f"corpus {path}:{records.line_num + 1}: cannot be read: {error}"
        return f"corpus {path}: is not a TSV of quoted fields: {otherwise}"
    first, named, n_bad = "", [], 0
    with open_lines(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip(b"\r\n"):
                continue  # the reader skips empty lines
            columns = line.count(b"\t") + 1
            if columns != n_columns:
                first = first or f"corpus {path}:{number}: {rule} {columns}"
                n_bad += 1
                if n_bad <= _N_NAMED:
                    named.append(str(number))
            if first:
                continue
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"corpus {path}:{number}: must be UTF-8, got byte 0x{line[error.start]:02x}"
    if n_bad > 1:
        rest = ", ..." if n_bad > _N_NAMED else ""
        return f"{first}; {n_bad:,} such lines: {', '.join(named)}{rest}"
    return first or f"corpus {path}: is not a TSV: {otherwise}"
