"""Recognition of SQLite databases that the installed MLflow has opened before, without importing it.

MLflow takes two seconds of processor time to import and to open a database. A training process imports MLflow
after its first steps, but refuses a bad database before.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from themo.files.atomic import write_text
from themo.tracking.uri import sqlite_file

_SCHEMA = "SELECT version_num FROM alembic_version"
_STATE = "SELECT lifecycle_stage FROM experiments WHERE name = ?"


def note_opened(uri: str) -> None:
    """Note beside a SQLite database that the installed MLflow has opened it.

    Raises:
        OSError: The note cannot be written.
    """
    file = sqlite_file(uri)
    if file is not None:
        with closing(_read_only(file)) as database:
            write_text(_note(file), _fact(database))


def opens(uri: str, experiment: str) -> bool:
    """Whether the installed MLflow opened a SQLite database of the same schema, and the experiment is active.

    False is inconclusive: then MLflow must open the database.
    """
    file = sqlite_file(uri)
    if file is None or not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK):
        return False
    try:
        with closing(_read_only(file)) as database:
            is_same = _note(file).read_text(encoding="utf-8") == _fact(database)
            return is_same and database.execute(_STATE, (experiment,)).fetchall() == [("active",)]
    except (OSError, ValueError, sqlite3.Error):
        return False


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)


def _fact(database: sqlite3.Connection) -> str:
    return json.dumps({"mlflow": version("mlflow"), "schema": database.execute(_SCHEMA).fetchall()})


def _note(file: Path) -> Path:
    return file.with_name(f".{file.name}.opened")
