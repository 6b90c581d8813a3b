#!/usr/bin/env bash
# pyarrow 26.0.1: the number of rows that `csv.read_csv` returns depends on `block_size`, without an error.
#
# Expected: `newlines_in_values` states "whether newline characters are allowed in CSV values"; the default is False. So
#   each line is a row, or the reader refuses the file. `block_size`, how many bytes are processed at once, does not
#   change the table.
# Behaviour: a quotation mark at the start of a value opens a quoted value that extends over line ends, up to the next
#   quotation mark or the end of the block. In a plain TSV file, such as subtitles whose quotation begins on one line
#   and ends on another, lines between are lost or become part of a value. Nothing is reported, since the number of
#   columns is right. `quote_char=False` reads such a file line by line.
# Output seen (2,000 lines; the quotation marks are on lines 101 and 1,501):
#   default block size: 600 rows; the longest value has 1400 line ends
#   blocks of 16384 bytes: 1310 rows; the longest value has 0 line ends
#   blocks of 4096 bytes: 1895 rows; the longest value has 0 line ends
#   quote_char=False: 2000 rows; the longest value has 0 line ends
#
# Exits 0 while the behaviour is as described, 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PY'
import sys
from io import BytesIO

from pyarrow import csv

lines = [f"{number}\tText number {number}." for number in range(2000)]
lines[100] = '100\t"Come here.'
lines[1500] = '1500\tAnd stay."'
content = "".join(f"{line}\n" for line in lines).encode()


def n_rows(name: str, block_size: int | None = None, **options: object) -> int:
    table = csv.read_csv(
        BytesIO(content),
        read_options=csv.ReadOptions(column_names=["number", "text"], block_size=block_size),
        parse_options=csv.ParseOptions(delimiter="\t", newlines_in_values=False, **options),
    )
    longest = max(table["text"].to_pylist(), key=len)
    print(f"{name}: {len(table)} rows; the longest value has {longest.count(chr(10))} line ends")
    return len(table)


rows = [n_rows("default block size"), *(n_rows(f"blocks of {size} bytes", size) for size in (16384, 4096))]
plain = n_rows("quote_char=False", quote_char=False)
if not (rows[0] < rows[1] < rows[2] < plain == len(lines)):
    sys.exit("changed: the number of rows no longer depends on the block size as described")
PY
