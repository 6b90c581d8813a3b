"""Names of the files of version and search directories, and which of the two a folder is."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

VERSION_FILE = "config.yaml"
SEARCH_FILE = "search.yaml"
STUDY_FILE = "study.json"
BEST_VERSION = "best"
"""Folder of a search's best version."""


def is_version(folder: Path) -> bool:
    """Whether a folder is a version directory."""
    return passes(Path.is_file, folder / VERSION_FILE)


def is_search(folder: Path) -> bool:
    """Whether a folder is a search directory."""
    return passes(Path.is_file, folder / SEARCH_FILE)


def passes(check: Callable[[Path], bool], path: Path) -> bool:
    """Whether a check of `Path` holds; False for a name that is too long for any file."""
    try:
        return check(path)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
