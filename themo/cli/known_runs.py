"""Names of searches and versions that a shell completes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from themo.files.run_folders import SEARCH_FILE, VERSION_FILE

_LOGS_DIR = "logs"
"""Default of ``--logs-dir``."""

Names = Callable[[argparse.Namespace], list[str]]
"""Values for what was typed so far."""


def complete_with(action: argparse.Action, names: Sequence[str] | Names) -> None:
    """Set the values that a shell completes for an option or argument.

    Args:
        action: The option or argument; `themo.cli.commands.completion` reads its values.
        names: The values, or a function that finds them when the shell asks.
    """

    def values(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        return names(parsed_args) if callable(names) else list(names)

    action.completer = values  # type: ignore[attr-defined]  # read by argcomplete


def searches(typed: argparse.Namespace) -> list[str]:
    """Return the names of the searches in the folder of logs."""
    return sorted(file.parent.name for file in _logs_dir(typed).glob(f"tune/[!.]*/{SEARCH_FILE}"))


def versions(typed: argparse.Namespace) -> list[str]:
    """Return the paths of the version directories in the folder of logs."""
    return sorted(str(file.parent) for file in _logs_dir(typed).glob(f"*/version_*/{VERSION_FILE}"))


def versions_and_searches(typed: argparse.Namespace) -> list[str]:
    """Return the names of `searches` and the paths of `versions`."""
    return searches(typed) + versions(typed)


def _logs_dir(typed: argparse.Namespace) -> Path:
    given = getattr(typed, "logs_dir", None) or getattr(typed, "setting:logs_dir", None)
    return Path(given or _LOGS_DIR)
