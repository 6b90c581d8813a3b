"""Results, on standard output; everything else goes to `themo.progress.console`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console

WIDTH_OF_FILES = 10_000
"""Columns where there is no terminal: a table is as wide as it needs to be, for whatever reads it."""


def print_result(result: Any) -> None:
    """Print a text as it is, or a table of rich."""
    to_file = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    Console(highlight=False, soft_wrap=True, width=WIDTH_OF_FILES if to_file else None).print(
        result, markup=not isinstance(result, str)
    )


def print_json(result: dict[str, Any]) -> None:
    """Print an object as JSON, readable and in UTF-8."""
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def duration(seconds: float) -> str:
    """Seconds as people say them: "4.2 s", "12 min", "3.4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
