"""Results, on standard output; everything else goes to `themo.process.progress.console`."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console

from themo.process.streams import Stream

WIDTH_OF_FILES = 10_000
"""Columns where there is no terminal: a table is as wide as it needs to be, for whatever reads it."""

_stdout = Stream("stdout")


def print_result(result: Any) -> None:
    """Print a text as it is, or a table of rich."""
    to_file = not _stdout.isatty() and "COLUMNS" not in os.environ
    width = WIDTH_OF_FILES if to_file else None
    # it prints :a: in a path as that, not as an emoji
    printer = Console(file=cast(TextIO, _stdout), highlight=False, soft_wrap=True, emoji=False, width=width)
    printer.print(result, markup=not isinstance(result, str))


def print_json(result: dict[str, Any]) -> None:
    """Print an object as JSON, readable and in UTF-8 whatever the locale."""
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    try:
        content = text.encode("utf-8", "surrogateescape")  # names of files, where the locale is not UTF-8
        content.decode()
    except UnicodeError:
        content = text.encode("utf-8", "backslashreplace")  # a name that is no UTF-8
    _stdout.write_bytes(content)


def duration(seconds: float) -> str:
    """Seconds as people say them: "4.2 s", "12 min", "3.4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def typed(*words: str | Path) -> str:
    """A command of this program as one types it."""
    return shlex.join(["python", "-m", "themo", *map(str, words)])
