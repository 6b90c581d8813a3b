"""Printing of results to standard output; all else goes to `themo.process.progress.console`."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, TextIO, cast

from rich.console import Console

from themo.process.streams import Stream

WIDTH_OF_FILES = 10_000
"""Columns without a terminal: wide enough for any table."""

_INDENT = "    "
"""Indentation of a command's continuation lines."""
_HARD_SPACE = "\u00a0"
"""A space at which `textwrap` breaks no line."""
_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")
"""A word of a command, with its quotes."""

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


def about(seconds: float) -> str:
    """Format an estimate: "about 32 s", "about 12 min", "about 3.4 h"."""
    return f"about {seconds:.0f} s" if seconds < 60 else f"about {duration(seconds)}"


def listed(label: str, parts: Sequence[str]) -> str:
    """Return a label and its parts, with commas; on a narrow terminal in lines that break between parts.

    Args:
        label: Text before the first part; further lines are indented by its width.
        parts: Texts that stay whole, such as ``val/loss 0.1200``.
    """
    whole = ", ".join(part.replace(" ", _HARD_SPACE) for part in parts)
    indent = " " * len(label)
    lines = wrap(whole, columns(), initial_indent=label, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(lines).replace(_HARD_SPACE, " ")


def with_command(label: str, command: str, screen: Console | None = None) -> str:
    """Return a label and a command; where a terminal is too narrow, the command in lines for pasting.

    Lines but the last one end with a backslash, as a shell continues them. In a pipe it is one line.

    Args:
        label: Text before the command.
        command: Command for a shell, its words quoted.
        screen: Console that it is printed on; None: that of `print_result`.
    """
    screen = screen or _printer()
    if not screen.file.isatty() or len(label) + len(command) <= screen.width:
        return label + command
    units: list[str] = []
    for word in _WORD.findall(command):
        if units and units[-1].startswith("--") and " " not in units[-1] and not word.startswith("-"):
            units[-1] += f" {word}"  # an option and its value
        else:
            units.append(word)
    is_long = len(label) > screen.width / 2  # the command begins on a line of its own
    lines = [label.rstrip(), _INDENT + units[0]] if is_long else [label + units[0]]
    for unit in units[1:]:
        if len(lines[-1]) + len(unit) + len("  \\") <= screen.width:
            lines[-1] += f" {unit}"
        else:
            lines[-1] += " \\"
            lines.append(_INDENT + unit)
    return "\n".join(lines)


def typed(*words: str | Path) -> str:
    """Return a command of this program, quoted for a shell; paths as `from_here` shows them."""
    shown = [from_here(word) if isinstance(word, Path) else word for word in words]
    return shlex.join(["python", "-m", "themo", *shown])


def activation() -> str | None:
    """Return the command that activates this program's environment; None if `python` is in it already."""
    activate, python = Path(sys.prefix) / "bin" / "activate", shutil.which("python")
    if not activate.is_file() or (python is not None and Path(python).parent == activate.parent):
        return None
    return shlex.join(["source", from_here(activate)])


def from_here(path: Path) -> str:
    """Return a path relative to the current folder if below it, else unchanged."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
