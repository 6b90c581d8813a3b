"""Printing of results to standard output; all else goes to `themo.process.progress.console`."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console

from themo.process.streams import Stream

WIDTH_OF_FILES = 10_000
"""Columns without a terminal: wide enough for any table."""

_stdout = Stream("stdout")


def print_result(result: Any) -> None:
    """Print a text verbatim, or a table of rich."""
    _printer().print(result, markup=not isinstance(result, str))


def columns() -> int:
    """Return the width of the output of `print_result`."""
    return _printer().width


def _printer() -> Console:
    to_file = not _stdout.isatty() and "COLUMNS" not in os.environ
    width = WIDTH_OF_FILES if to_file else None
    # prints :a: in a path literally, not as an emoji
    return Console(file=cast(TextIO, _stdout), highlight=False, soft_wrap=True, emoji=False, width=width)


def print_json(result: dict[str, Any]) -> None:
    """Print an object as indented JSON in UTF-8 in any locale."""
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    try:
        content = text.encode("utf-8", "surrogateescape")  # file names in a locale that is not UTF-8
        content.decode()
    except UnicodeError:
        content = text.encode("utf-8", "backslashreplace")  # a name outside UTF-8
    _stdout.write_bytes(content)


def duration(seconds: float) -> str:
    """Format seconds: "4.2 s", "12 min", "3.4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def typed(*words: str | Path) -> str:
    """Return a command of this program, quoted for a shell."""
    return shlex.join(["python", "-m", "themo", *map(str, words)])
